/** Asks the user to log in: once for all callers and processes that wait, and not again soon after the user refused. */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { LoginError } from "@latchkey/oauth/LoginError"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Login from "../Login.js"
import type { LoginFailure } from "../McpError.js"
import type { Grant } from "./grant.js"
import * as joined from "./joined.js"
import { isEndedByUser, loginRequired, met, type Need } from "./need.js"

export interface Parts {
  readonly serverUrl: URL
  readonly account: string
  readonly lease: Context.Tag.Service<RefreshLease>
  readonly grant: Grant
  readonly way: Login.Way | undefined
  readonly authorize: (way: Login.Way, need: Need) => Effect.Effect<Redacted.Redacted, LoginFailure>
}

export type Ask = (need: Need) => Effect.Effect<Redacted.Redacted, LoginFailure>

/** How often a process looks for the outcome of a login that another process makes. */
const lookInterval = "500 millis"

/** How long requests do not ask again after a user refused to log in, in milliseconds. */
const quietTime = 60_000

export const make = (parts: Parts): Effect.Effect<Ask, never, Scope.Scope> =>
  Effect.map(joined.make<Redacted.Redacted, LoginFailure>(), (logins): Ask => {
    let refusal: { readonly until: number; readonly error: LoginError } | undefined
    return (need) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (need.reason !== "Asked" && refusal !== undefined && now < refusal.until) {
          return yield* refusal.error
        }
        const { way } = parts
        if (way === undefined) return yield* loginRequired(parts.serverUrl, need)
        const login = inTurn(parts, way, need).pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              refusal = undefined
            })
          ),
          Effect.tapErrorTag("LoginError", (error) =>
            Effect.map(Clock.currentTimeMillis, (at) => {
              if (isEndedByUser(error)) refusal = { until: at + quietTime, error }
            })
          )
        )
        return yield* logins.run(`login ${need.lacking.join(" ")}`, login)
      })
  })

/** One process logs in at a time. The others wait, and use its token if that meets their need. */
const inTurn = (
  { account, authorize, grant, lease }: Parts,
  way: Login.Way,
  need: Need
): Effect.Effect<Redacted.Redacted, LoginFailure> =>
  Effect.gen(function* () {
    let hasWaited = false
    while (true) {
      const turn = yield* Effect.either(lease.acquire(`${account} login`, "60 seconds"))
      const isBusy = turn._tag === "Left" && turn.left.reason === "Busy"
      if (hasWaited || need.reason !== "Asked") {
        const token = yield* tokenThatMeets(grant, need)
        if (Option.isSome(token)) return token.value
      }
      // If the lease fails, log in without it: two logins at once harm nothing, they only ask the user twice.
      if (!isBusy) return yield* authorize(way, need)
      hasWaited = true
      yield* Effect.sleep(lookInterval)
    }
  }).pipe(Effect.scoped)

const tokenThatMeets = (grant: Grant, need: Need) =>
  Effect.gen(function* () {
    yield* grant.manager.invalidate
    const current = yield* grant.token
    return met(need, current, yield* grant.scopes)
  })
