/** Who is measured beside us: each behind the same few functions, used as its own documentation says. */

import * as Undici from "@effect/platform-node/Undici"

/** What an application holds of a grant. `expiresAt` is in epoch milliseconds. */
export interface Held {
  readonly accessToken: string
  readonly refreshToken: string
  readonly expiresAt: number
}

/** Where the grant comes from. The client is public. */
export interface Server {
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly clientId: string
}

export interface Session {
  /** A token that is valid: the call that an application makes before each request. */
  readonly get: () => Promise<unknown>
  /** A new token, whatever is held. */
  readonly refresh: () => Promise<unknown>
  /** What the application would store now. */
  readonly held: () => Held
}

export interface Peer {
  readonly name: string
  /** Whether it keeps the token, sees that it expired, and refreshes, with no code around it. */
  readonly full: boolean
  readonly open: (server: Server, held: Held) => Promise<Session> | Session
}

/** The answer of a token endpoint, of which a rotated refresh token and a lifetime are always there. */
export interface Answer {
  readonly access_token: string
  readonly refresh_token: string
  readonly expires_in: number
}

export const wallClock = (): number => performance.timeOrigin + performance.now()

export const heldAfter = (answer: {
  readonly access_token?: string | undefined
  readonly refresh_token?: string | undefined
  readonly expires_in?: number | undefined
}): Held => {
  const { access_token, expires_in, refresh_token } = answer
  if (access_token === undefined || refresh_token === undefined || expires_in === undefined) {
    throw new Error("The answer of the token endpoint lacks a token or its lifetime.")
  }
  return {
    accessToken: access_token,
    refreshToken: refresh_token,
    expiresAt: wallClock() + expires_in * 1000
  }
}

const refreshForm = (server: Server, refreshToken: string): URLSearchParams =>
  new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: refreshToken,
    client_id: server.clientId
  })

/** The refresh request by plain `fetch`. */
export const requestByFetch = async (server: Server, refreshToken: string): Promise<Held> => {
  const body = refreshForm(server, refreshToken)
  const response = await fetch(server.tokenEndpoint, { method: "POST", body })
  if (!response.ok)
    throw new Error(`The token endpoint answered ${response.status}: ${await response.text()}`)
  return heldAfter((await response.json()) as Answer)
}

/** The same by plain undici. */
export const requestByUndici = async (server: Server, refreshToken: string): Promise<Held> => {
  const { body, statusCode } = await Undici.request(server.tokenEndpoint, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: refreshForm(server, refreshToken).toString()
  })
  if (statusCode !== 200) throw new Error(`The token endpoint answered ${statusCode}: ${await body.text()}`)
  return heldAfter((await body.json()) as Answer)
}
