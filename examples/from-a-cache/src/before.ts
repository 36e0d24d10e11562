/**
 * The cache with which almost every program begins. It works in a test. In production:
 *
 * - Two callers at the moment of expiry send two requests. If refresh tokens rotate, the second one sends a
 *   spent token, which ends the grant.
 * - So do two processes, even if the first problem is solved.
 * - The new refresh token is only in memory: a restart falls back to a spent one.
 * - A 503 throws an error at a caller whose token was still valid for a minute.
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
