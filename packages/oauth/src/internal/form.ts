/** Reads a form-encoded body, whatever its content type says. */

/** A form and nothing else: pairs of characters that URLs may hold, with or without percent-encoding. */
const strict = /^[?#]?[\w.%+~*-]+=[^&\s<>"{}]*(?:&[\w.%+~*;-]+=[^&\s<>"{}]*)*&?$/

/** A text that begins as a form does. */
const beginning = /^[?#]?[\w.%+~*-]+=/

/**
 * Returns the fields of a text that is a form with tokens or an error in it. None if it is anything else.
 * `declared` says that its content type is that of a form.
 */
export const fieldsOf = (text: string, declared: boolean): Readonly<Record<string, string>> | undefined => {
  const trimmed = text.trim()
  if (declared && !trimmed.startsWith("{")) return decode(trimmed, true)
  if (!strict.test(trimmed)) return undefined
  const fields = decode(trimmed, false)
  return "access_token" in fields || "error" in fields ? fields : undefined
}

/**
 * Returns a field of a text that begins as a form does, even if it is broken later. Also accepts one pair a
 * line, as in `text/plain`. The last pair counts only if the text is complete.
 */
export const fieldOf = (text: string, name: string, isWhole: boolean): string | undefined => {
  const trimmed = text.trimStart()
  if (!beginning.test(trimmed)) return undefined
  const pairs = trimmed
    .replace(/^[?#]/, "")
    .replaceAll("&amp;", "&")
    .split(/[&\r\n]+/)
  const known = isWhole ? pairs : pairs.slice(0, -1)
  const pair = known.filter((each) => each.startsWith(`${name}=`)).at(-1)
  return pair === undefined ? undefined : decode(pair.trimEnd(), false)[name]
}

/**
 * A plus sign is a space in a form. In a text that was not declared as a form, it is a plus sign of a token
 * that was not encoded, because no token has a space.
 */
const decode = (text: string, declared: boolean): Readonly<Record<string, string>> => {
  const form = text.replace(/^[?#]/, "").replaceAll("&amp;", "&")
  return Object.fromEntries(
    [...new URLSearchParams(declared ? form : form.replaceAll("+", "%2B"))].map(([name, value]) => [
      name,
      declared || name.endsWith("_token") ? value : value.replaceAll("+", " ")
    ])
  )
}
