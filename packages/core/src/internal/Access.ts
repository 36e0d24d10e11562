/** How a caller comes to a token: the fast path, and the slow one that obeys the decision. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Decision from "../Decision.js"
import { RefreshUnavailable, type TokenError } from "../TokenError.js"
import type { StorageError } from "../TokenStorage.js"
import { type Parts, settled, type Trigger } from "./RefreshTransaction.js"
import type { SingleFlight } from "./SingleFlight.js"

export interface Access {
  /** One compare and a prebuilt answer while the door is open; no lock, log, span or fiber. */
  readonly getAccessToken: Effect.Effect<Redacted.Redacted, TokenError>
  readonly resolve: (request: Decision.Request) => Effect.Effect<Redacted.Redacted, TokenError>
  /** Reads storage unless memory is fresh; its failure is none while the token in memory is valid. */
  readonly look: Effect.Effect<void, StorageError>
}

/** For how long, in milliseconds, a storage that just failed is not asked again while there is a valid token. */
const storagePause = 1000

/** How often a caller joins a refresh whose token expires before it is served. */
const mostAttempts = 5

export const make = (
  parts: Parts,
  loads: SingleFlight<void, StorageError, void>,
  refreshes: SingleFlight<void, TokenError, Trigger>
): Access => {
  const { config, state } = parts
  const { door } = state

  const look = Effect.gen(function* () {
    if (state.isFresh(yield* Clock.currentTimeMillis)) return
    const loaded = yield* Effect.either(loads.join())
    if (Either.isRight(loaded)) return
    const now = yield* Clock.currentTimeMillis
    if (!Option.exists(state.credentials, (c) => !Decision.isExpired(c, now))) return yield* loaded.left
  })

  const resolve = (request: Decision.Request): Effect.Effect<Redacted.Redacted, TokenError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const decision = state.decide(now, request)
      return decision._tag === "Reload" ? reload(request) : obey(decision, request)
    })

  const reload = (request: Decision.Request): Effect.Effect<Redacted.Redacted, TokenError> =>
    Effect.gen(function* () {
      const loaded = yield* Effect.either(loads.join())
      const now = yield* Clock.currentTimeMillis
      const decision = state.judge(now, request)
      if (Either.isRight(loaded)) return yield* obey(decision, request)
      const token = servable(decision)
      if (Option.isNone(token) || request.force) return yield* loaded.left
      const left = Option.flatMap(state.credentials, (c) => Decision.timeToExpiry(c, now))
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
    decision: Decision.Decision,
    request: Decision.Request
  ): Effect.Effect<Redacted.Redacted, TokenError> => {
    switch (decision._tag) {
      case "Use":
        state.open(decision.token, decision.nextCheckAt)
        return Effect.succeed(decision.token)
      case "UseAndRefresh":
        return Effect.as(refreshes.start({ request, had: state.credentials }), decision.token)
      case "Refresh":
        return request.force || Option.isNone(decision.fallback)
          ? refresh(request)
          : refreshWithin(config.patience, request)
      case "CoolDown":
        return Option.match(decision.fallback, {
          onNone: () => refuse(decision),
          onSome: (token) => (request.force ? refuse(decision) : Effect.succeed(token))
        })
      case "Reload":
      case "Reauthorize":
      case "TooShortLived":
        return refuse(decision)
    }
  }

  const refuse = (
    decision: Exclude<Decision.Decision, { _tag: "Refresh" | "UseAndRefresh" | "Use" }>
  ): Effect.Effect<never, TokenError> => Effect.zipRight(settled(parts, decision), notLongEnough)

  const refresh = (request: Decision.Request, attempt = 1): Effect.Effect<Redacted.Redacted, TokenError> =>
    Effect.suspend(() => refreshes.join({ request, had: state.credentials })).pipe(
      Effect.either,
      Effect.flatMap((result) => conclude(result, request, attempt))
    )

  /** A slow refresh is not waited for longer than the caller's patience, if its token lives that long. */
  const refreshWithin = (
    patience: number,
    request: Decision.Request
  ): Effect.Effect<Redacted.Redacted, TokenError> =>
    Effect.suspend(() => refreshes.join({ request, had: state.credentials })).pipe(
      Effect.either,
      Effect.timeoutOption(patience),
      Effect.flatMap(
        Option.match({
          onSome: (result) => conclude(result, request, 1),
          onNone: () =>
            Effect.flatMap(Clock.currentTimeMillis, (now) =>
              Option.match(servable(state.judge(now, request)), {
                onNone: () => refresh(request),
                onSome: Effect.succeed
              })
            )
        })
      )
    )

  /** What a refresh leaves to serve: a failed one in the grace leaves the token that is still valid. */
  const conclude = (
    result: Either.Either<void, TokenError>,
    request: Decision.Request,
    attempt: number
  ): Effect.Effect<Redacted.Redacted, TokenError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (Either.isLeft(result) && request.force) return Effect.fail(result.left)
      const decision = state.judge(now, { ...request, force: false })
      if (decision._tag === "Use") state.open(decision.token, decision.nextCheckAt)
      const token = servable(decision)
      if (Option.isSome(token)) return Effect.succeed(token.value)
      if (Either.isLeft(result)) return Effect.fail(result.left)
      // A process that is stalled for long may find that the new token has come and gone.
      if (decision._tag === "Refresh" && decision.reason === "Expired" && attempt < mostAttempts) {
        return refresh(request, attempt + 1)
      }
      return decision._tag === "Refresh" || decision._tag === "UseAndRefresh" || decision._tag === "Use"
        ? notLongEnough
        : refuse(decision)
    })

  const slowly = resolve(Decision.anyValid)
  return {
    look,
    resolve,
    getAccessToken: Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis()
      return now < door.until && now >= door.from ? door.answer : slowly
    })
  }
}

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
