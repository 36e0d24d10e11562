/** Your own program, to be tested: every hour it fetches a report with the user's token, all night long. */
import { HttpClient, type HttpClientError } from "@effect/platform"
import type { TokenError } from "@latchkey/core"
import { BearerClient } from "@latchkey/oauth"
import { Effect, Ref, Schedule } from "effect"

export const reportUrl = "https://api.hostile.test/report"

export interface Night {
  readonly fetched: number
  readonly failed: number
}

/** It does not handle tokens: the client that it receives adds them. */
const fetchReport: Effect.Effect<
  void,
  HttpClientError.HttpClientError | TokenError.TokenError,
  BearerClient.BearerClient
> = Effect.gen(function* () {
  const client = yield* BearerClient.BearerClient
  yield* HttpClient.filterStatusOk(client).get(reportUrl)
}).pipe(Effect.retry({ times: 3, schedule: Schedule.spaced("5 seconds") }))

/** A report that cannot be fetched is skipped until the next hour. */
export const overnight = (hours: number): Effect.Effect<Night, never, BearerClient.BearerClient> =>
  Effect.gen(function* () {
    const night = yield* Ref.make<Night>({ fetched: 0, failed: 0 })
    const once = Effect.matchEffect(fetchReport, {
      onSuccess: () => Ref.update(night, (n) => ({ ...n, fetched: n.fetched + 1 })),
      onFailure: () => Ref.update(night, (n) => ({ ...n, failed: n.failed + 1 }))
    })
    yield* Effect.repeat(once, Schedule.intersect(Schedule.spaced("1 hour"), Schedule.recurs(hours - 1)))
    return yield* Ref.get(night)
  })
