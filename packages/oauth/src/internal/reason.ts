/** Finds a server's explanation of an error in a body that is not an OAuth error. */

const names = [
  ...[
    "error_description",
    "message",
    "detail",
    "title",
    "description",
    "errorMessage",
    "error_message",
    "msg"
  ],
  ...["reason", "error", "errors", "fault", "status", "code"]
]

/**
 * Returns the explanation from an object: first from the usual fields of its own, then from those of an inner
 * object.
 */
export const reasonIn = (body: unknown, levels = 3): string | undefined => {
  if (typeof body === "string") return body.trim() === "" ? undefined : body.trim()
  if (typeof body !== "object" || body === null || levels === 0) return undefined
  if (Array.isArray(body)) return reasonIn(body[0], levels - 1)
  for (const name of names) {
    const found = Object.hasOwn(body, name)
      ? reasonIn((body as Readonly<Record<string, unknown>>)[name], levels - 1)
      : undefined
    if (found !== undefined) return found
  }
  return undefined
}

/** Returns a body that is not JSON, if it is a sentence and not a page. */
export const sentence = (text: string): string | undefined =>
  text.trim() === "" || /^\s*[<{[]|<(!doctype|html|head|body|\?xml)\b/i.test(text.slice(0, 4000))
    ? undefined
    : text.trim()
