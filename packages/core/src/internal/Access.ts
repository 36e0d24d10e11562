/** How a caller comes to a token: the fast path, and the slow one that obeys the decision. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { type Credentials, sameAccessToken } from "../Credentials.js"
import * as Decision from "../Decision.js"
import { RefreshUnavailable, type TokenError } from "../TokenError.js"
import type { StorageError } from "../TokenStorage.js"
import type { Grant } from "./Grant.js"
import type { Door } from "./GrantState.js"
import { nowOf } from "./Now.js"
import { settled } from "./NoToken.js"

/** For how long, in milliseconds, a storage that just failed is not asked again while there is a valid token. */
const storagePause = 1000

/** For how long, in milliseconds, storage that was read is not read again by those who join a refresh. */
const justRead = 100

/** How often a caller joins a refresh whose token expires before it is served. */
const mostAttempts = 5

/** One compare and a prebuilt answer while the door is open; no lock, log, span or fiber. */
export const fast = (grant: Grant): Effect.Effect<Redacted.Redacted, TokenError> => {
  const { state } = grant
  const slowly = resolve(grant, Decision.anyValid)
  return Effect.withFiberRuntime<Redacted.Redacted, TokenError>((fiber) => {
    const now = nowOf(fiber)
    const { door } = state
    return isOpen(door, now) ? door.answer : slowly
  })
}

export const isOpen = (door: Door, now: number): boolean => now < door.until && now >= door.from

/** Reads storage unless memory is fresh; its failure is none while the token in memory is valid. */
export const look = ({ loads, state }: Grant): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    if (state.isFresh(yield* Clock.currentTimeMillis)) return
    const loaded = yield* Effect.either(loads.join())
    if (Either.isRight(loaded)) return
    const now = yield* Clock.currentTimeMillis
    if (Option.isNone(state.credentials) || state.isExpired(now)) return yield* loaded.left
  })

export const resolve = (
  grant: Grant,
  request: Decision.Request
): Effect.Effect<Redacted.Redacted, TokenError> =>
  Effect.withFiberRuntime<Redacted.Redacted, TokenError>((fiber) => {
    const now = nowOf(fiber)
    const { refreshes, state } = grant
    const decision = state.decide(now, request)
    if (decision._tag !== "Reload") return obey(grant, decision, request, now)
    // In a crowd at expiry one read, that of the refresh they all join, is enough for all: who else wants to
    // refresh waits for the lease.
    const age = now - state.loadedAt
    return refreshes.isUnderWay && state.isRedeeming && age >= 0 && age < justRead
      ? obey(grant, state.judge(now, request), request, now)
      : reload(grant, request)
  })

const reload = (grant: Grant, request: Decision.Request): Effect.Effect<Redacted.Redacted, TokenError> =>
  Effect.gen(function* () {
    const { loads, state } = grant
    const loaded = yield* Effect.either(loads.join())
    const now = yield* Clock.currentTimeMillis
    const decision = state.judge(now, request)
    if (Either.isRight(loaded)) return yield* obey(grant, decision, request, now)
    const token = servable(decision)
    if (Option.isNone(token) || request.force) return yield* loaded.left
    const left = state.timeLeft(now)
    state.open(
      token.value,
      now +
        Math.min(
          storagePause,
          Option.getOrElse(left, () => Infinity)
        ),
      now
    )
    return token.value
  })

const obey = (
  grant: Grant,
  decision: Decision.Decision,
  request: Decision.Request,
  now: number
): Effect.Effect<Redacted.Redacted, TokenError> => {
  const { config, refreshes, state } = grant
  switch (decision._tag) {
    case "Use":
      state.open(decision.token, decision.nextCheckAt, now)
      return Effect.succeed(decision.token)
    case "UseAndRefresh":
      return Effect.as(refreshes.start({ request, had: state.credentials }), decision.token)
    case "Refresh":
      // A token that may be dead is served only if the refresh fails.
      return request.force || Option.isNone(decision.fallback) || decision.reason === "AgeUnknown"
        ? refresh(grant, request)
        : refreshWithin(grant, config.patience, request)
    case "CoolDown":
      return Option.match(decision.fallback, {
        onNone: () => refuse(grant, decision, request),
        onSome: (token) => (request.force ? refuse(grant, decision, request) : Effect.succeed(token))
      })
    case "Reload":
    case "Reauthorize":
    case "TooShortLived":
    case "Refuse":
      return refuse(grant, decision, request)
  }
}

const refuse = (
  grant: Grant,
  decision: Exclude<Decision.Decision, { _tag: "Refresh" | "UseAndRefresh" | "Use" }>,
  request: Decision.Request
): Effect.Effect<Redacted.Redacted, TokenError> =>
  // What was read was dropped again before this caller's turn: that is no word about the grant.
  grant.state.isForgotten && Option.isNone(grant.state.entry)
    ? resolve(grant, request)
    : Effect.zipRight(settled(grant, decision), notLongEnough)

const refresh = (
  grant: Grant,
  request: Decision.Request,
  attempt = 1,
  had = grant.state.credentials
): Effect.Effect<Redacted.Redacted, TokenError> =>
  Effect.suspend(() => {
    const { refreshes, state } = grant
    const { answers } = state
    const joins = refreshes.isUnderWay
    // Memory that was dropped meanwhile says nothing of what storage holds.
    const mayBeSame = () => isSameToken(had, state.credentials) || (Option.isSome(had) && state.isForgotten)
    // One that was begun for others may find their need met by what this caller has already.
    const isMet = () => !(joins && request.force && state.answers === answers && mayBeSame())
    return Effect.flatMap(Effect.either(refreshes.join({ request, had })), (result) =>
      Either.isLeft(result) || attempt === mostAttempts || isMet()
        ? conclude(grant, result, request, attempt)
        : refresh(grant, request, attempt + 1, had)
    )
  })

const isSameToken = (a: Option.Option<Credentials>, b: Option.Option<Credentials>): boolean =>
  Option.exists(Option.zipWith(a, b, sameAccessToken), (same) => same)

/** A slow refresh is not waited for longer than the caller's patience, if its token lives that long. */
const refreshWithin = (
  grant: Grant,
  patience: number,
  request: Decision.Request
): Effect.Effect<Redacted.Redacted, TokenError> =>
  Effect.suspend(() => grant.refreshes.join({ request, had: grant.state.credentials })).pipe(
    Effect.either,
    Effect.timeoutOption(patience),
    Effect.flatMap(
      Option.match({
        onSome: (result) => conclude(grant, result, request, 1),
        onNone: () =>
          Effect.flatMap(Clock.currentTimeMillis, (now) =>
            Option.match(servable(grant.state.judge(now, request)), {
              onNone: () => refresh(grant, request),
              onSome: Effect.succeed
            })
          )
      })
    )
  )

/** What a refresh leaves to serve: a failed one in the grace leaves the token that is still valid. */
const conclude = (
  grant: Grant,
  result: Either.Either<void, TokenError>,
  request: Decision.Request,
  attempt: number
): Effect.Effect<Redacted.Redacted, TokenError> =>
  Effect.withFiberRuntime<Redacted.Redacted, TokenError>((fiber) => {
    const now = nowOf(fiber)
    const { state } = grant
    // Most of a crowd finds that the first of it has judged already.
    if (request === Decision.anyValid && isOpen(state.door, now)) return state.door.answer
    if (Either.isLeft(result) && request.force) return Effect.fail(result.left)
    const decision = state.judge(now, { ...request, force: false })
    if (decision._tag === "Use") state.open(decision.token, decision.nextCheckAt, now)
    const token = servable(decision)
    if (Option.isSome(token)) return Effect.succeed(token.value)
    if (Either.isLeft(result)) return Effect.fail(result.left)
    // A process that is stalled for long may find that the new token has come and gone, or was rejected.
    const gone =
      decision._tag === "Refresh" && (decision.reason === "Expired" || decision.reason === "Rejected")
    if (gone && attempt < mostAttempts) {
      return refresh(grant, request, attempt + 1)
    }
    return decision._tag === "Refresh" || decision._tag === "UseAndRefresh" || decision._tag === "Use"
      ? notLongEnough
      : refuse(grant, decision, { ...request, force: false })
  })

/** The token that a decision lets be served now. */
const servable = (decision: Decision.Decision): Option.Option<Redacted.Redacted> => {
  switch (decision._tag) {
    case "Use":
    case "UseAndRefresh":
      return Option.some(decision.token)
    case "Refresh":
    case "CoolDown":
      return decision.fallback
    default:
      return Option.none()
  }
}

const notLongEnough: Effect.Effect<never, RefreshUnavailable> = Effect.flatMap(
  Clock.currentTimeMillis,
  (now) =>
    new RefreshUnavailable({
      reason: "TooShortLived",
      retryAt: now + 1000,
      message: "The token that the refresh brought does not live long enough to be served: ask for less."
    })
)
