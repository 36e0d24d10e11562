/**
 * Strict JSON for a credential file: one object, no key twice, bounded in depth. Errors name the place, never
 * the content. Numbers that JavaScript would change keep their text.
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import { randomUUID } from "node:crypto"

/** An object of a document. */
export type JsonObject = { readonly [key: string]: unknown }

/** Deeper than any credential file, and shallow enough for every recursive reader. */
export const maxDepth = 500

/** Marks a number that is written as it is. No document can contain it by chance. */
const mark = randomUUID()
const marked = new RegExp(`"${mark}([^"]+)"`, "g")

/** A number with more digits than a double holds, kept as written. */
class RawNumber extends Data.Class<{ readonly text: string }> {
  toJSON(): string {
    return mark + this.text
  }
}

class Refused extends Data.TaggedError("Refused")<{ readonly problem: string; readonly at: number }> {}

/** Parses the document in these bytes, or describes the problem and its place. */
export const parse = (bytes: Uint8Array): Either.Either<JsonObject, string> => {
  const encoding = encodingProblem(bytes)
  if (encoding !== undefined) return Either.left(encoding)
  let text: string
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return Either.left("is not UTF-8")
  }
  if (text.trim() === "") return Either.left("is empty")
  try {
    const value = new Reader(text).document()
    return isObject(value) ? Either.right(value) : Either.left("holds no JSON object at its top level")
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const before = text.slice(0, error.at).split("\n")
    const column = (before[before.length - 1] ?? "").length + 1
    return Either.left(`${error.problem} at line ${before.length}, column ${column}`)
  }
}

/** Returns the text of a document, formatted like `like`. */
export const stringify = (document: JsonObject, like = ""): string => {
  const indent = /^\s*\{(\r?\n)([ \t]+)"/.exec(like)
  const text = JSON.stringify(document, undefined, like === "" ? 2 : (indent?.[2] ?? ""))
  return `${text.includes(mark) ? text.replace(marked, "$1") : text}\n`
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof RawNumber)

const encodingProblem = (bytes: Uint8Array): string | undefined => {
  const [a, b, c] = bytes
  if (a === 0xef && b === 0xbb && c === 0xbf) return "begins with a byte order mark"
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) return "is UTF-16, not UTF-8"
  if (bytes.length > 0 && bytes.every((byte) => byte === 0)) return "is filled with NUL bytes"
  if ((a === 0 && b !== 0) || (a !== 0 && b === 0)) return "is UTF-16, not UTF-8"
  return undefined
}

const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const escapePattern = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y

class Reader {
  private at = 0
  constructor(private readonly text: string) {}

  document(): unknown {
    const value = this.value(1)
    this.blanks()
    if (this.at < this.text.length) this.refuse("has data after its end")
    return value
  }

  private refuse(problem: string, at = this.at): never {
    throw new Refused({ problem: at >= this.text.length ? "ends too early" : problem, at })
  }

  private blanks(): void {
    while (" \t\r\n".includes(this.text[this.at] ?? "x")) this.at++
  }

  private take(char: string): boolean {
    this.blanks()
    if (this.text[this.at] !== char) return false
    this.at++
    return true
  }

  private value(depth: number): unknown {
    this.blanks()
    if (depth > maxDepth) this.refuse(`is nested more than ${maxDepth} levels deep`)
    const char = this.text[this.at]
    if (char === "{") return this.object(depth)
    if (char === "[") return this.array(depth)
    if (char === '"') return this.string()
    for (const [word, value] of [
      ["true", true],
      ["false", false],
      ["null", null]
    ] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length
        return value
      }
    }
    return this.number()
  }

  private object(depth: number): JsonObject {
    const found: Record<string, unknown> = {}
    this.at++
    if (this.take("}")) return found
    do {
      this.blanks()
      const start = this.at
      if (this.text[start] !== '"') this.refuse("is not JSON: a key is missing")
      const key = this.string()
      if (key === "__proto__") this.refuse("has a key that is not allowed (__proto__)", start)
      if (Object.hasOwn(found, key)) this.refuse("has a key twice", start)
      if (!this.take(":")) this.refuse("is not JSON: a colon is missing")
      found[key] = this.value(depth + 1)
    } while (this.take(","))
    if (!this.take("}")) this.refuse("is not JSON: a comma or closing brace is missing")
    return found
  }

  private array(depth: number): ReadonlyArray<unknown> {
    const found: Array<unknown> = []
    this.at++
    if (this.take("]")) return found
    do found.push(this.value(depth + 1))
    while (this.take(","))
    if (!this.take("]")) this.refuse("is not JSON: a comma or closing bracket is missing")
    return found
  }

  private string(): string {
    const start = this.at++
    for (;;) {
      const code = this.text.charCodeAt(this.at)
      if (code === 0x22) break
      if (code === 0x5c) {
        escapePattern.lastIndex = this.at
        const escape = escapePattern.exec(this.text)
        if (escape === null) this.refuse("is not JSON: an escape is not valid")
        this.at += escape[0].length
      } else if (code >= 0x20) this.at++
      else this.refuse("is not JSON: a control character in a string")
    }
    return JSON.parse(this.text.slice(start, ++this.at)) as string
  }

  private number(): number | RawNumber {
    numberPattern.lastIndex = this.at
    const [raw] = numberPattern.exec(this.text) ?? this.refuse("is not JSON: a value is missing")
    this.at += raw.length
    const value = Number(raw)
    const digits = raw.replace(/[eE].*|[-.]/g, "").length
    return Number.isFinite(value) && (digits <= 15 || String(value) === raw)
      ? value
      : new RawNumber({ text: raw })
  }
}
