/**
 * Undoes the content codings (RFC 9110 §8.4) of a response, within a size limit. Requests ask for none, but
 * some servers and proxies compress anyway, and only `fetch` undoes that by itself.
 */
import type { Transform } from "node:stream"
import type * as Zlib from "node:zlib"

/** The decoded body, and why it is not complete, if it is not. */
export interface Decoded {
  readonly bytes: Uint8Array
  readonly problem:
    | { readonly _tag: "TooLarge" }
    | { readonly _tag: "Broken"; readonly coding: string }
    | { readonly _tag: "Unsupported"; readonly coding: string }
    | undefined
}

/** The `code` of an error about a content coding. */
export const undecodable = "CONTENT_CODING"

/** More codings than anyone applies on purpose. */
const mostCodings = 4

/**
 * The number of pieces in which a body is decoded. Of a broken body, everything but the broken piece is
 * saved.
 */
const pieces = 512

/** Whether there is anything to undo, by the `content-encoding` or by the bytes themselves. */
export const isCoded = (bytes: Uint8Array, header: string | undefined): boolean =>
  isGzip(bytes) || declaredIn(header).length > 0

/**
 * Undoes the codings in the header, and gzip that is not declared. A coding that was already undone, or never
 * applied, is skipped. Each step outputs at most `most` bytes.
 */
export const decode = async (
  bytes: Uint8Array,
  header: string | undefined,
  most: number
): Promise<Decoded> => {
  const codings = declaredIn(header)
  if (codings.length > mostCodings) {
    return { bytes: empty, problem: { _tag: "Unsupported", coding: codings.join(", ") } }
  }
  let decoded: Decoded = { bytes, problem: undefined }
  for (const coding of codings) {
    if (decoded.problem === undefined && isApplied(decoded.bytes, coding)) {
      decoded = await undo(decoded.bytes, coding, most)
    }
  }
  for (let again = codings.length; again < mostCodings; again++) {
    if (decoded.problem !== undefined || !isGzip(decoded.bytes)) break
    decoded = await undo(decoded.bytes, "gzip", most)
  }
  return decoded
}

const empty = new Uint8Array()

/** The codings of a header, the last one applied first. */
const declaredIn = (header: string | undefined): ReadonlyArray<string> =>
  header === undefined
    ? []
    : header
        .split(",")
        .map((coding) => coding.trim().toLowerCase().replace(/^x-/, ""))
        .filter((coding) => coding !== "" && coding !== "identity")
        .reverse()

const startsWith = (bytes: Uint8Array, ...magic: ReadonlyArray<number>): boolean =>
  magic.every((byte, at) => bytes[at] === byte)

const isGzip = (bytes: Uint8Array): boolean => startsWith(bytes, 0x1f, 0x8b)

const isApplied = (bytes: Uint8Array, coding: string): boolean => {
  switch (coding) {
    case "gzip":
      return isGzip(bytes)
    case "zstd":
      return startsWith(bytes, 0x28, 0xb5, 0x2f, 0xfd)
    case "compress":
      return startsWith(bytes, 0x1f, 0x9d)
    default:
      return bytes.length > 0 && !isText(bytes)
  }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true })

/** Whether it is JSON or a form. A compressed body has control characters early on. */
const isText = (bytes: Uint8Array): boolean => {
  if (bytes.some((byte) => byte < 9 || (byte > 13 && byte < 32))) return false
  try {
    return strictUtf8.decode(bytes) !== ""
  } catch {
    return false
  }
}

const undo = (bytes: Uint8Array, coding: string, most: number): Promise<Decoded> => {
  const stream = decoderOf(bytes, coding)
  return stream === undefined
    ? Promise.resolve({ bytes: empty, problem: { _tag: "Unsupported", coding } })
    : run(stream, bytes, coding, most)
}

/** Node's `zlib`, if there is one. Browsers have none and need none. */
const zlib = (): (typeof Zlib & Partial<Record<"createZstdDecompress", () => Transform>>) | undefined =>
  (globalThis as { readonly process?: Partial<NodeJS.Process> }).process?.getBuiltinModule?.("node:zlib")

const decoderOf = (bytes: Uint8Array, coding: string): Transform | undefined => {
  switch (coding) {
    case "gzip":
      return zlib()?.createGunzip()
    case "deflate":
      // Many servers leave out the zlib header (RFC 9110 §8.4.1.2).
      return hasZlibHeader(bytes) ? zlib()?.createInflate() : zlib()?.createInflateRaw()
    case "br":
      return zlib()?.createBrotliDecompress()
    case "zstd":
      return zlib()?.createZstdDecompress?.()
    default:
      return undefined
  }
}

const hasZlibHeader = ([first = 0, second = 0]: Uint8Array): boolean =>
  (first & 0x0f) === 8 && (first * 256 + second) % 31 === 0

const run = (stream: Transform, bytes: Uint8Array, coding: string, most: number): Promise<Decoded> =>
  new Promise((resolve) => {
    const chunks: Array<Uint8Array> = []
    let length = 0
    const finish = (problem: Decoded["problem"]) => {
      // A body that was not coded at all is better than nothing.
      resolve({ bytes: length === 0 && problem !== undefined ? bytes : concat(chunks), problem })
      stream.destroy()
    }
    stream.on("error", () => finish({ _tag: "Broken", coding }))
    stream.on("end", () => finish(undefined))
    stream.on("data", (chunk: Uint8Array) => {
      chunks.push(chunk.subarray(0, most - length))
      length += chunk.length
      if (length > most) finish({ _tag: "TooLarge" })
    })
    // In pieces, because an error loses the output of the same step.
    const size = Math.max(8, Math.ceil(bytes.length / pieces))
    const write = (from: number) => {
      if (stream.destroyed) return
      if (from >= bytes.length) stream.end()
      else stream.write(bytes.subarray(from, from + size), () => write(from + size))
    }
    write(0)
  })

/** Joins several arrays. */
export const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const [first = empty] = chunks
  if (chunks.length <= 1) return first
  const all = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

/** Decodes the text: UTF-8 unless its first bytes show that it is UTF-16. */
export const textOf = (bytes: Uint8Array): string => {
  const [first, second] = bytes
  const isLittle = (first === 0xff && second === 0xfe) || (first !== 0 && second === 0)
  const isBig = (first === 0xfe && second === 0xff) || (first === 0 && second !== 0)
  if (bytes.length < 2 || (!isLittle && !isBig)) return utf8.decode(bytes)
  // Not every runtime supports big-endian UTF-16.
  return utf16.decode(isLittle ? bytes : bytes.map((_, at) => bytes[at ^ 1] ?? 0))
}

const utf8 = new TextDecoder()
const utf16 = new TextDecoder("utf-16le")
