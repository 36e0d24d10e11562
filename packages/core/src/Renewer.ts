/**
 * Renews the accounts of a {@link TokenManagers} in the background, before they expire. Every few seconds it
 * queries storage for due accounts, so idle accounts cost nothing and a restart forgets nothing.
 *
 * Any number of processes may run one over the same storage. The lease makes sure that each account is
 * renewed once, and a process that finds it taken moves on. A renewal never delays a caller. An account whose
 * server is busy or failing waits for a later round, and does not hold up the accounts of other servers.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Round from "./grant/Round.js"
import { count, invalid, millis } from "./internal/Settings.js"
import { TokenConfig } from "./TokenConfig.js"
import { TokenManagers } from "./TokenManagers.js"
import type { StorageError } from "./TokenStorage.js"
import { type DueAccount, TokenStorages } from "./TokenStorages.js"

/**
 * The settings. Each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often storage is queried for due accounts. Default: 5 seconds. */
  readonly every?: Duration.DurationInput
  /** Renewals are spread over this time before a token's grace. Default: 2 minutes. */
  readonly window?: Duration.DurationInput
  /** How many renewals run at a time over all servers. Default: 64. */
  readonly concurrency?: number
  /** How many renewals run at a time at one server. Default: 16. */
  readonly perServer?: number
}

/**
 * What this process has done so far, and what its last round found.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** How many accounts were due in the last round, as far as it looked. */
  readonly due: number
  readonly renewed: number
  /** How many renewals failed, including those of grants that ended. */
  readonly failed: number
  /** When the earliest of them was due, in epoch milliseconds. None if nothing was due. */
  readonly oldestDue: Option.Option<number>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Renewer extends Context.Tag("@latchkey/core/Renewer")<
  Renewer,
  { readonly status: Effect.Effect<Status> }
>() {}

/** How many accounts storage returns per page, and how many pages a round reads at most. */
const pageSize = 500
const mostPages = 20

/**
 * Starts renewing, and stops with the scope. A renewal that is then running ends with the pool. Fails with a
 * `ConfigError` that names the setting if a setting cannot work.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<
  Context.Tag.Service<Renewer>,
  ConfigError.ConfigError,
  TokenManagers | TokenStorages | TokenConfig | Scope.Scope
> =>
  Effect.gen(function* () {
    const every = yield* millis("every", options.every ?? "5 seconds")
    if (every < 1) return yield* invalid("every", "must be a millisecond at least")
    const { grace, instance } = yield* TokenConfig
    const limits: Round.Limits = {
      concurrency: yield* count("concurrency", options.concurrency ?? 64),
      perServer: yield* count("perServer", options.perServer ?? 16),
      window: yield* millis("window", options.window ?? "2 minutes"),
      lead: grace,
      instance: instance ?? `${yield* Random.next}`
    }
    const managers = yield* TokenManagers
    const storages = yield* TokenStorages
    const fork = yield* FiberSet.makeRuntime<never>()
    const isHungry = Effect.unsafeMakeLatch(false)
    let load = Round.noLoad
    /** Where the next full round continues if there are very many accounts, and when it begins. */
    let cursor: DueAccount | undefined
    let nextWhole = -Infinity
    /** Whether more accounts are due than the last round read. */
    let isCut = false
    let status: Status = { due: 0, renewed: 0, failed: 0, oldestDue: Option.none() }

    const begin = (): void => {
      const next = Round.begin(limits, load)
      load = next.load
      next.begun.forEach((renewal) => fork(renew(renewal)))
    }

    const renew = (renewal: Round.Renewal): Effect.Effect<void> =>
      Effect.gen(function* () {
        // A renewal that dies of a defect does not stop the others.
        const exit = yield* Effect.exit(managers.renew(renewal.account, renewal.early))
        const result = Exit.isSuccess(exit) ? exit.value : Round.stuck
        load = Round.end(limits, load, renewal, result, yield* Clock.currentTimeMillis)
        status = counted(status, result)
        begin()
        if (Round.isHungry(load, renewal.server, isCut)) yield* isHungry.open
      })

    /** Reads due accounts page by page, until there are enough, or no more. */
    const read = (
      isWhole: boolean,
      after: DueAccount | undefined,
      pages: number,
      found: number
    ): Effect.Effect<void, StorageError> =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const page = yield* storages.due({ before: Round.horizon(limits, now), limit: pageSize, after })
        const { waiting } = load
        load = Round.enqueue(limits, load, page, managers.serverOf, now)
        const isEnough = Round.isFull(load) || (!isWhole && load.waiting > waiting)
        begin()
        if (isWhole) {
          const oldestDue =
            after === undefined
              ? Option.map(Option.fromNullable(page[0]), ({ dueAt }) => dueAt)
              : status.oldestDue
          status = { ...status, due: found + page.length, oldestDue }
        }
        const last = page.length < pageSize ? undefined : page.at(-1)
        isCut = isEnough && last !== undefined
        if (!isEnough && last !== undefined && pages < mostPages) {
          return yield* read(isWhole, last, pages + 1, found + page.length)
        }
        if (isWhole) cursor = isEnough ? undefined : last
      })

    // A server that has room starts a round at once, which reads no further than it must. From time to time a
    // round reads all.
    const round = Effect.gen(function* () {
      const began = yield* Clock.currentTimeMillis
      const isWhole = began >= nextWhole || nextWhole > began + every
      if (isWhole) nextWhole = began + every
      yield* isHungry.close
      load = Round.open(load, began)
      yield* read(isWhole, isWhole ? cursor : undefined, 1, 0)
      const left = nextWhole - (yield* Clock.currentTimeMillis)
      yield* Effect.timeoutOption(isHungry.await, Math.max(left, 0))
    })

    yield* round.pipe(
      Effect.catchAllCause((cause) =>
        // The defect is dropped, because it may hold a secret.
        Option.match(Cause.failureOption(cause), {
          onNone: () => Effect.logWarning("latchkey: a round of renewals failed with an unexpected error"),
          onSome: (error) =>
            Effect.logWarning("latchkey: storage could not list the accounts that are due", error.message)
        }).pipe(Effect.andThen(Effect.sleep(every)))
      ),
      Effect.forever,
      Effect.interruptible,
      Effect.forkScoped
    )
    return Renewer.of({ status: Effect.sync(() => status) })
  })

const counted = (status: Status, { outcome }: Round.Result): Status => {
  if (outcome === "Renewed") return { ...status, renewed: status.renewed + 1 }
  return outcome === "NotNeeded" ? status : { ...status, failed: status.failed + 1 }
}

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Renewer, ConfigError.ConfigError, TokenManagers | TokenStorages | TokenConfig> =>
  Layer.scoped(Renewer, make(options))
