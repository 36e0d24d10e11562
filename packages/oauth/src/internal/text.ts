/** The most of a server's text that an error quotes. */
const maxQuote = 200

/** Long runs of token characters: an echoed credential, never prose; a URL's parts are shorter. */
const tokenLike = /[A-Za-z0-9_\-.~+=]{24,}/g

const escape = (text: string): string =>
  text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)

/**
 * What a server said, fit for an error: what was sent as a secret and what looks like one masked, then
 * escaped and cut.
 */
export const quote = (text: string, secrets: ReadonlyArray<string>): string => {
  let masked = text
  for (const secret of secrets) {
    if (secret === "") continue
    for (const form of [secret, encodeURIComponent(secret)]) masked = masked.replaceAll(form, "<redacted>")
  }
  const safe = escape(masked.replace(tokenLike, "<redacted>"))
  return safe.length > maxQuote ? `${safe.slice(0, maxQuote)}…` : safe
}
