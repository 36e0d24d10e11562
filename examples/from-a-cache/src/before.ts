/**
 * The cache that almost every program begins with. It works in a test; in production:
 *
 * - two callers at the moment of expiry send two requests, and where refresh tokens rotate the second one
 *   spends a token that is spent, which ends the grant;
 * - so do two processes, whatever is done about the first;
 * - the new refresh token is in memory only: a restart falls back to one that is spent;
 * - a 503 throws at a caller whose token was still valid for a minute.
 */
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { Clock, Data, Effect } from "effect"

class Refused extends Data.TaggedError("Refused")<{ readonly status: number }> {}

interface Cached {
  accessToken: string
  refreshToken: string
  expiresAt: number
}

export const make = (tokenEndpoint: string, cached: Cached) =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (now < cached.expiresAt - 60_000) return cached.accessToken
    const client = yield* HttpClient.HttpClient
    const response = yield* client.execute(
      HttpClientRequest.post(tokenEndpoint).pipe(
        HttpClientRequest.bodyUrlParams({
          grant_type: "refresh_token",
          client_id: "example",
          refresh_token: cached.refreshToken
        })
      )
    )
    if (response.status !== 200) return yield* new Refused({ status: response.status })
    const answer = (yield* response.json) as {
      access_token: string
      refresh_token: string
      expires_in: number
    }
    cached.accessToken = answer.access_token
    cached.refreshToken = answer.refresh_token
    cached.expiresAt = now + answer.expires_in * 1000
    return cached.accessToken
  })
