import { Buffer } from "node:buffer"

/** The longest server text that an error quotes, and the longest that is examined for it. */
const maxQuote = 200
const maxLook = 4000

/** A part of a secret of this length is as sensitive as the secret. */
const piece = 12

/** Long runs of token characters: a credential, never prose. The parts of a URL are shorter. */
const tokenLike = /[A-Za-z0-9_\-.~+=]{24,}/g

/** A run with slashes is a credential if its characters are as mixed as random ones, and it is not a URL. */
const slashed = /[\w\-.~+=/%]{24,}/g
const isMixed = (run: string): boolean =>
  !run.startsWith("//") && /[A-Z]/.test(run) && /[a-z]/.test(run) && /\d/.test(run)

const escape = (text: string): string =>
  text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** A shorter text is not a secret from a server, and may be part of any word. */
const shortest = 6

const redacted = "<redacted>"

/**
 * The forms in which a secret may come back: as it is, in a URL, in a form, in JSON, in base64. Its base64
 * depends on where it begins, and then its first and last characters belong to its neighbours too.
 */
const shapesOf = (secret: string): ReadonlyArray<string> => {
  const encoded = encodeURIComponent(secret)
  const inBase64 = [0, 1, 2].map((before) => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)])
    return bytes
      .toString("base64url")
      .slice(before === 0 ? 0 : before + 1, Math.floor((bytes.length * 4) / 3))
  })
  return [
    secret,
    encoded,
    encoded.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    new URLSearchParams([["", secret]]).toString().slice(1),
    JSON.stringify(secret).slice(1, -1),
    ...inBase64.flatMap((shape) => [shape, shape.replaceAll("-", "+").replaceAll("_", "/")])
  ]
}

/**
 * Marks the characters of a text that belong to a secret, or to any part of one that is long enough to
 * matter.
 */
const secretIn = (text: string, secrets: ReadonlyArray<string>): ReadonlyArray<boolean> => {
  const hidden = Array.from({ length: text.length }, () => false)
  const hide = (from: number, length: number) => hidden.fill(true, from, from + length)
  const shapes = new Set(
    secrets
      .filter((secret) => secret.length >= shortest)
      .flatMap(shapesOf)
      .filter((shape) => shape.length >= shortest)
  )
  const pieces = new Set<string>()
  for (const shape of shapes) {
    if (shape.length < piece) {
      for (let at = text.indexOf(shape); at >= 0; at = text.indexOf(shape, at + 1)) hide(at, shape.length)
    }
    for (let at = 0; at + piece <= shape.length; at++) pieces.add(shape.slice(at, at + piece))
  }
  for (let at = 0; at + piece <= text.length; at++)
    if (pieces.has(text.slice(at, at + piece))) hide(at, piece)
  return hidden
}

/**
 * One pass over the text. Masked text is never examined again, so secrets may be parts of one another or of
 * the mask itself. `finish` receives the visible parts.
 */
const mask = (
  text: string,
  secrets: ReadonlyArray<string>,
  finish: (shown: string) => string = (shown) => shown
): string => {
  const hidden = secretIn(text, secrets)
  let masked = ""
  for (let from = 0, to = 0; from < text.length; from = to) {
    const isHidden = hidden[from] === true
    to = hidden.indexOf(!isHidden, from)
    if (to < 0) to = text.length
    masked += isHidden ? redacted : finish(text.slice(from, to))
  }
  return masked
}

/** Returns a text of any length without these secrets, otherwise unchanged. */
export const withoutSecrets = (text: string, secrets: ReadonlyArray<string>): string => mask(text, secrets)

/**
 * Makes a server's text fit for an error: masks the secrets that were sent and everything that looks like
 * one, then escapes and truncates.
 */
export const quote = (text: string, secrets: ReadonlyArray<string>): string => {
  const safe = mask(text.slice(0, maxLook), secrets, (shown) =>
    escape(shown.replace(slashed, (run) => (isMixed(run) ? redacted : run)).replace(tokenLike, redacted))
  )
  return safe.length > maxQuote ? `${safe.slice(0, maxQuote)}…` : safe
}
