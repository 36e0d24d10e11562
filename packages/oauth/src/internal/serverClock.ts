/**
 * The clocks of servers, as their `Date` headers show them (RFC 9110 §6.6.1). Signatures for a server are
 * dated by its clock.
 */

/** A response, and when its request was sent and when it arrived, in epoch milliseconds. */
export interface Heard {
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly requestedAt: number
  readonly receivedAt: number
}

export interface ServerClocks {
  /** By how many milliseconds the clock of a URL's origin is ahead of ours. Negative if it is behind. */
  readonly ahead: (url: string | URL) => number
  /**
   * Learns from a response. Returns whether a signature for its request was dated by another time than the
   * server's.
   */
  readonly learn: (url: string | URL, heard: Heard) => boolean
}

/** A `Date` has whole seconds. Clocks that differ by less than one agree. */
const second = 1000

/** Only as much as is certain, however long the response took. None if it has no `Date`. */
const aheadBy = ({ headers, receivedAt, requestedAt }: Heard): number | undefined => {
  const server = Date.parse(headers["date"] ?? "")
  if (!(server >= 0)) return undefined
  if (server - receivedAt >= second) return server - receivedAt
  return requestedAt - server >= second ? server - requestedAt : 0
}

const maxOrigins = 100

export const make = (): ServerClocks => {
  const byOrigin = new Map<string, number>()
  const ahead = (url: string | URL): number => byOrigin.get(new URL(url).origin) ?? 0
  return {
    ahead,
    learn: (url, heard) => {
      const now = aheadBy(heard)
      if (now === undefined) return false
      const before = ahead(url)
      const { origin } = new URL(url)
      byOrigin.delete(origin)
      if (now !== 0) byOrigin.set(origin, now)
      for (const [oldest] of byOrigin) if (byOrigin.size > maxOrigins) byOrigin.delete(oldest)
      return Math.abs(now - before) >= second
    }
  }
}

/**
 * Codes with which a server refuses a client's assertion or a proof before it looks at a grant. The request
 * may be sent once more with a new signature (RFC 6749 §5.2, RFC 7521 §4.2.1, RFC 9449 §5).
 */
const refusals: ReadonlySet<string> = new Set([
  "invalid_client",
  "invalid_client_assertion",
  "invalid_dpop_proof",
  "unauthorized_client"
])

export const refusesWhatIsSigned = (code: string | undefined): boolean =>
  code !== undefined && refusals.has(code)
