/**
 * How many braces are tried as the start of the object. The text before it is a warning or a guard, not a
 * book.
 */
const maxStarts = 16

/**
 * Returns a string member of a JSON object's top level, from a text that may be incomplete or broken: a
 * response cut by a reset or by the size limit, damaged further on, or with something before it. Only a
 * member whose closing quote was seen counts. The last one wins, as in `JSON.parse`.
 */
export const topLevelString = (text: string, name: string): string | undefined => {
  let at = text.indexOf("{")
  for (let tried = 0; at >= 0 && tried < maxStarts; tried++) {
    const found = memberOf(text, at, name)
    if (found !== undefined) return found
    at = text.indexOf("{", at + 1)
  }
  return undefined
}

const memberOf = (text: string, start: number, name: string): string | undefined => {
  let found: string | undefined
  let at = skipSpace(text, start + 1)
  while (at < text.length) {
    const key = readString(text, at)
    if (key === undefined) return found
    at = skipSpace(text, key.end)
    if (text[at] !== ":") return found
    at = skipSpace(text, at + 1)
    const value = readString(text, at)
    if (value === undefined) at = skipValue(text, at)
    else {
      if (key.value === name) found = value.value
      at = value.end
    }
    at = skipSpace(text, at)
    if (text[at] !== ",") return found
    at = skipSpace(text, at + 1)
  }
  return found
}

const skipSpace = (text: string, from: number): number => {
  let at = from
  while (at < text.length && " \t\r\n".includes(text[at]!)) at++
  return at
}

const readString = (
  text: string,
  from: number
): { readonly value: string; readonly end: number } | undefined => {
  if (text[from] !== '"') return undefined
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === "\\") at++
    else if (text[at] === '"') {
      try {
        return { value: String(JSON.parse(text.slice(from, at + 1))), end: at + 1 }
      } catch {
        return undefined
      }
    }
  }
  return undefined
}

/** Returns the position after an array, an object, a number or a word. Strings inside are skipped whole. */
const skipValue = (text: string, from: number): number => {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const c = text[at]!
    if (c === '"') {
      const inner = readString(text, at)
      if (inner === undefined) return text.length
      at = inner.end - 1
    } else if (c === "{" || c === "[") depth++
    else if (c === "}" || c === "]") {
      if (depth === 0) return at
      depth--
    } else if (c === "," && depth === 0) return at
  }
  return text.length
}
