/** Hand-written code: a token, its expiry, and a promise of the one running refresh. */
import { type Held, type Peer, requestByFetch } from "../src/Peer.js"

export const byHand: Peer = {
  name: "by hand, a Promise cache",
  full: false,
  open: (server, first) => {
    let held = first
    let pending: Promise<Held> | undefined
    const refresh = async (): Promise<Held> => {
      pending ??= requestByFetch(server, held.refreshToken).finally(() => (pending = undefined))
      held = await pending
      return held
    }
    return {
      get: async () => (Date.now() < held.expiresAt ? held.accessToken : (await refresh()).accessToken),
      refresh,
      held: () => held
    }
  }
}

/** The lower limit: a read of a field and of the clock. */
export const fieldRead =
  (held: Held, keep: (value: unknown) => void) =>
  (n: number): void => {
    const field = { ...held }
    for (let i = 0; i < n; i++) if (Date.now() < field.expiresAt) keep(field.accessToken)
  }
