/** The most of a server's text that an error quotes, and that is looked at for it. */
const maxQuote = 200
const maxLook = 4000

/** A part of a secret this long is as much a secret. */
const piece = 12

/** Long runs of token characters: a credential, never prose; a URL's parts are shorter. */
const tokenLike = /[A-Za-z0-9_\-.~+=]{24,}/g

/** With slashes in it a run is a credential where it is as mixed as chance makes it, and no URL. */
const slashed = /[\w\-.~+=/%]{24,}/g
const isMixed = (run: string): boolean =>
  !run.startsWith("//") && /[A-Z]/.test(run) && /[a-z]/.test(run) && /\d/.test(run)

const escape = (text: string): string =>
  text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** How a secret may come back: as it is, in a URL, in a form, in JSON. */
const shapesOf = (secret: string): ReadonlyArray<string> => [
  secret,
  encodeURIComponent(secret),
  new URLSearchParams([["", secret]]).toString().slice(1),
  JSON.stringify(secret).slice(1, -1)
]

/** The text without the secrets, and without any part of one that is long enough to matter. */
const mask = (text: string, secrets: ReadonlyArray<string>): string => {
  const shapes = secrets.filter((secret) => secret !== "").flatMap(shapesOf)
  const pieces = new Set<string>()
  for (const shape of shapes) {
    for (let at = 0; at + piece <= shape.length; at++) pieces.add(shape.slice(at, at + piece))
  }
  let masked = text
  for (const shape of shapes) masked = masked.replaceAll(shape, "<redacted>")
  let safe = ""
  let kept = 0
  for (let at = 0; at < masked.length; at++) {
    if (!pieces.has(masked.slice(at, at + piece))) continue
    let end = at + piece
    while (end < masked.length && pieces.has(masked.slice(end - piece + 1, end + 1))) end++
    safe += `${masked.slice(kept, at)}<redacted>`
    kept = end
    at = end - 1
  }
  return safe + masked.slice(kept)
}

/**
 * What a server said, fit for an error: what was sent as a secret and what looks like one masked, then
 * escaped and cut.
 */
export const quote = (text: string, secrets: ReadonlyArray<string>): string => {
  const masked = mask(text.slice(0, maxLook), secrets)
  const safe = escape(
    masked.replace(slashed, (run) => (isMixed(run) ? "<redacted>" : run)).replace(tokenLike, "<redacted>")
  )
  return safe.length > maxQuote ? `${safe.slice(0, maxQuote)}…` : safe
}
