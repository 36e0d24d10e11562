/**
 * A refresher that follows a script, step by step: responses, delays, failures.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Credentials, make as makeCredentials, type Options } from "../Credentials.js"
import type { GrantIdentity } from "../GrantIdentity.js"
import * as TokenRefresher from "../TokenRefresher.js"

/**
 * One call of the refresher: what it does after `after`. `answer` receives the credentials it was called
 * with, the number of the call from 1, and its time. What it leaves out of `Options` stays unchanged.
 *
 * @since 0.1.0
 * @category models
 */
export type Step = { readonly after?: Duration.DurationInput } & (
  | {
      readonly answer: (call: {
        readonly previous: Option.Option<Credentials>
        readonly number: number
        readonly now: number
      }) => Credentials
    }
  | { readonly fail: TokenRefresher.RefreshError }
  | { readonly never: true }
)

/**
 * The calls of the refresher so far.
 *
 * @since 0.1.0
 * @category tags
 */
export class RefreshCalls extends Context.Tag("@latchkey/core/testing/RefreshCalls")<
  RefreshCalls,
  {
    /** The credentials of each call, in order. */
    readonly all: Effect.Effect<ReadonlyArray<Option.Option<Credentials>>>
    readonly count: Effect.Effect<number>
    /** The highest number of calls that ran at once. Above one, a refresh token was redeemed twice. */
    readonly mostAtOnce: Effect.Effect<number>
  }
>() {}

/**
 * Creates a step that responds with these credentials. `expiresIn` is milliseconds from the call. What is
 * left out stays unchanged.
 *
 * @since 0.1.0
 * @category steps
 */
export const answer = (
  options: Options & { readonly expiresIn?: number; readonly after?: Duration.DurationInput }
): Step => ({
  ...(options.after === undefined ? {} : { after: options.after }),
  answer: ({ now, previous }) => {
    const fresh = makeCredentials({
      ...options,
      obtainedAt: options.obtainedAt ?? now,
      expiresAt: options.expiresAt ?? (options.expiresIn === undefined ? undefined : now + options.expiresIn)
    })
    return Option.match(previous, {
      onNone: () => fresh,
      onSome: (p) =>
        new Credentials({
          ...fresh,
          refreshToken: Option.orElse(fresh.refreshToken, () => p.refreshToken),
          idToken: Option.orElse(fresh.idToken, () => p.idToken),
          accountId: Option.orElse(fresh.accountId, () => p.accountId),
          scopes: options.scopes ?? p.scopes,
          extras: options.extras === undefined ? p.extras : fresh.extras
        })
    })
  }
})

/**
 * Creates a step that fails.
 *
 * @since 0.1.0
 * @category steps
 */
export const fail = (
  reason: TokenRefresher.RefreshReason,
  options: Omit<Partial<ConstructorParameters<typeof TokenRefresher.RefreshError>[0]>, "retryAfter"> & {
    readonly retryAfter?: Duration.DurationInput
    readonly after?: Duration.DurationInput
  } = {}
): Step => {
  const { after, retryAfter, ...fields } = options
  return {
    ...(after === undefined ? {} : { after }),
    fail: new TokenRefresher.RefreshError({
      message: `scripted: ${reason}`,
      ...fields,
      reason,
      ...(retryAfter === undefined ? {} : { retryAfter: Duration.decode(retryAfter) })
    })
  }
}

/**
 * Provides the refresher and the record of its calls. `script` gives the step of each call: a list (a call
 * beyond its end fails as `Misconfigured`), or a function of the call's number from 1.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  script: ReadonlyArray<Step> | ((call: number) => Step),
  options: {
    readonly needsRefreshToken?: boolean
    readonly rotation?: TokenRefresher.RotationPolicy
    /** The identity whose grants it redeems. Default: none, and nothing is compared. */
    readonly identity?: GrantIdentity
    readonly formerly?: ReadonlyArray<string>
  } = {}
): Layer.Layer<TokenRefresher.TokenRefresher | RefreshCalls> =>
  Layer.effectContext(
    Effect.sync(() => {
      const calls: Array<Option.Option<Credentials>> = []
      let active = 0
      let mostAtOnce = 0
      const stepOf = (number: number): Step =>
        typeof script === "function"
          ? script(number)
          : (script[number - 1] ??
            fail("Misconfigured", {
              message: `The script has ${script.length} steps; this was call ${number}.`
            }))
      const perform = (step: Step, previous: Option.Option<Credentials>, number: number) =>
        Effect.gen(function* () {
          if (step.after !== undefined) yield* Effect.sleep(step.after)
          if ("never" in step) return yield* Effect.never
          if ("fail" in step) return yield* step.fail
          return step.answer({ previous, number, now: yield* Clock.currentTimeMillis })
        })
      return Context.empty().pipe(
        Context.add(TokenRefresher.TokenRefresher, {
          identity: options.identity,
          formerly: options.formerly,
          needsRefreshToken: options.needsRefreshToken ?? true,
          rotation: options.rotation ?? TokenRefresher.rotating(),
          refresh: (previous) =>
            Effect.acquireUseRelease(
              Effect.sync(() => {
                calls.push(previous)
                mostAtOnce = Math.max(mostAtOnce, ++active)
                return calls.length
              }),
              (number) => perform(stepOf(number), previous, number),
              () => Effect.sync(() => active--)
            )
        }),
        Context.add(RefreshCalls, {
          all: Effect.sync(() => [...calls]),
          count: Effect.sync(() => calls.length),
          mostAtOnce: Effect.sync(() => mostAtOnce)
        })
      )
    })
  )
