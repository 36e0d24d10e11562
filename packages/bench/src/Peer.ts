/**
 * The libraries that Latchkey is compared with: each behind the same few functions, used as its documentation
 * says.
 */

/** An application's state of a grant. `expiresAt` is in epoch milliseconds. */
export interface Held {
  readonly accessToken: string
  readonly refreshToken: string
  readonly expiresAt: number
}

/** The server of the grant. The client is public. */
export interface Server {
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly clientId: string
}

export interface Session {
  /** Returns a valid token: the call that an application makes before each request. */
  readonly get: () => Promise<unknown>
  /** Returns a new token, whatever the state. */
  readonly refresh: () => Promise<unknown>
  /** Returns what the application would store now. */
  readonly held: () => Held
}

/** Opens a session of a library. */
export type Open = (server: Server, held: Held) => Promise<Session> | Session

export interface Peer {
  readonly name: string
  /** Whether it keeps the token, detects its expiry, and refreshes, without other code. */
  readonly full: boolean
  /** `fresh`: it refreshes at its vendor's server alone. `process`: it cannot share a grant by a file. */
  readonly only?: "fresh" | "process"
  /** Whether it slows its process from then on, by hooks for promises or many timers. It comes after the others. */
  readonly last?: boolean
  readonly open: Open
}

/** Returns the peers that can be opened with all others, or those that come after them. */
export const inPart = (peers: ReadonlyArray<Peer>, last: boolean): ReadonlyArray<Peer> =>
  peers.filter((peer) => (peer.last ?? false) === last)

/** The response of a token endpoint. It always has a rotated refresh token and a lifetime. */
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

/** Sends the refresh request with plain `fetch`. */
export const requestByFetch = async (server: Server, refreshToken: string): Promise<Held> => {
  const body = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: refreshToken,
    client_id: server.clientId
  })
  const response = await fetch(server.tokenEndpoint, { method: "POST", body })
  if (!response.ok)
    throw new Error(`The token endpoint answered ${response.status}: ${await response.text()}`)
  return heldAfter((await response.json()) as Answer)
}

type Renew = (held: Held) => Promise<Held>

/** An application that holds the token of a library without a cache, and checks its expiry before each use. */
export const checking = (first: Held, renew: Renew): Session => {
  let held = first
  const refresh = async () => (held = await renew(held)).accessToken
  return {
    get: async () => (held.expiresAt <= wallClock() ? await refresh() : held.accessToken),
    refresh,
    held: () => held
  }
}

/** The same with a promise of the one running refresh. */
export const sharing = (first: Held, renew: Renew): Session => {
  let pending: Promise<Held> | undefined
  return checking(first, (held) => (pending ??= renew(held).finally(() => (pending = undefined))))
}
