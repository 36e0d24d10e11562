/** The memoized identity provider of smithy, from which the AWS SDK gets its credentials. */
import { memoizeIdentityProvider } from "@smithy/core"
import { type Open, requestByFetch, wallClock } from "../src/Peer.js"

export const open: Open = async (server, first) => {
  let held = first
  let asked = false
  const identify = () => ({ accessToken: held.accessToken, expiration: new Date(held.expiresAt) })
  const provider = memoizeIdentityProvider(
    async () => {
      // The first call returns the existing token.
      if (asked) held = await requestByFetch(server, held.refreshToken)
      asked = true
      return identify()
    },
    (identity) => (identity.expiration?.getTime() ?? 0) <= wallClock(),
    (identity) => identity.expiration !== undefined
  )
  if (provider === undefined) throw new Error("There is no provider.")
  if (first.expiresAt > wallClock()) await provider()
  else asked = true
  return {
    get: async () => (await provider()).accessToken,
    refresh: () => provider({ forceRefresh: true }),
    held: () => held
  }
}
