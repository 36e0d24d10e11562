/** Renews a grant in the background: once, or for as long as its scope is open. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Callers from "../Callers.js"
import * as Driver from "../Driver.js"
import * as Flights from "../Flights.js"
import * as Grant from "../Grant.js"
import * as Renewal from "../grant/Renewal.js"
import type { Result } from "../grant/Round.js"

const planOf = (grant: Grant.Grant, early: number) =>
  Effect.map(Clock.currentTimeMillis, (now) => ({
    ...Renewal.plan(Grant.policyOf(grant), grant.state, early, now),
    now
  }))

const renew = (grant: Grant.Grant, early: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Driver.renew(grant, Renewal.want(Grant.policyOf(grant), grant.state, early, now))
  )

/** How long, in milliseconds, until an account that could not be read is read again. */
const unreadable = 60_000

/**
 * Renews the grant if it is due, `early` milliseconds before its grace. It reads the grant first, because
 * another process may have renewed it and a read costs the server nothing.
 */
export const once = (grant: Grant.Grant, early: number): Effect.Effect<Result> =>
  Effect.gen(function* () {
    const failure = yield* Callers.read(grant)
    const { answers } = grant.state
    const { at, now } = yield* planOf(grant, early)
    if (Option.isSome(failure)) return { outcome: "Stuck", nextAt: now + unreadable }
    if (at <= now) yield* renew(grant, early)
    const { at: nextAt } = yield* planOf(grant, early)
    if (grant.state.answers > answers) return { outcome: "Renewed", nextAt }
    if (nextAt === Infinity) return { outcome: "Stuck", nextAt }
    return { outcome: Flights.isTroubled(grant) ? "Failed" : "NotNeeded", nextAt }
  })

/**
 * How long, in milliseconds, one reading of the clock is trusted. The clock may be set, and the machine may
 * sleep.
 */
const longestSleep = 60_000

/** The shortest time, in milliseconds, from a renewal of a grant or a failed read to the next attempt. */
const shortestPause = 1000

/** How many milliseconds before the grace renewals begin. Each account begins at its own time within them. */
const window = 120_000

/** Renews the grant before its grace, repeatedly. */
export const forever = (grant: Grant.Grant): Effect.Effect<never> => {
  const early = window * grant.jitterShare
  return Effect.gen(function* () {
    const { at, now, task } = yield* planOf(grant, early)
    if (at > now) return yield* Effect.sleep(Math.min(Math.max(at - now, shortestPause), longestSleep))
    if (task === "Renew") yield* renew(grant, early)
    const failure = task === "Read" ? yield* Callers.read(grant) : Option.none()
    const after = yield* planOf(grant, early)
    // Another process is renewing it. Read what that process writes before sending anything.
    if (task === "Renew" && after.at <= after.now) yield* Grant.tell(grant, { _tag: "Changed" })
    if (task === "Renew" || Option.isSome(failure))
      yield* Effect.sleep(shortestPause * (1 + grant.jitterShare))
  }).pipe(Effect.forever)
}
