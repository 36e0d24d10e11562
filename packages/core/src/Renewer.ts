/**
 * Renews the accounts of a {@link TokenManagers} before they expire, without being asked. It asks storage for what is due
 * every few seconds, so that accounts at rest cost nothing and a restart forgets nothing.
 *
 * Any number of processes may run one over the same storage: the lease has each account renewed once, and a process that
 * finds it taken moves on. A renewal never delays a caller. An account whose server is busy or failing waits for a later
 * round, and holds up no account of another server.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Round from "./grant/Round.js"
import { count, invalid, millis } from "./internal/Settings.js"
import { TokenConfig } from "./TokenConfig.js"
import { TokenManagers } from "./TokenManagers.js"
import type { StorageError } from "./TokenStorage.js"
import { type DueAccount, TokenStorages } from "./TokenStorages.js"

/**
 * The settings; each has a default.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often storage is asked for what is due; default 5 seconds. */
  readonly every?: Duration.DurationInput
  /** Over how long before the grace of a token renewals are spread; default 2 minutes. */
  readonly window?: Duration.DurationInput
  /** How many renewals run at a time over all servers; default 64. */
  readonly concurrency?: number
  /** How many renewals run at a time at one server; default 16. */
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
  readonly failed: number
  /** When the earliest of them was due, epoch milliseconds; none where nothing was. */
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

/** How many accounts come with one answer of storage, and how many answers a round reads at most. */
const pageSize = 500
const mostPages = 200

/**
 * Starts renewing, and stops with the scope, once the renewals under way have ended. A setting that cannot work is a
 * `ConfigError` that names it.
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
    const hasRoom = Effect.unsafeMakeLatch(true)
    let load = Round.noLoad
    let status: Status = { due: 0, renewed: 0, failed: 0, oldestDue: Option.none() }

    const renew = (account: string): Effect.Effect<void> =>
      Effect.gen(function* () {
        const outcome = yield* managers.renew(account, limits.window)
        load = Round.end(load, account, managers.serverOf(account), outcome, yield* Clock.currentTimeMillis)
        status =
          outcome === "Done"
            ? { ...status, renewed: status.renewed + 1 }
            : { ...status, failed: status.failed + 1 }
        if (load.running.size * 2 <= limits.concurrency) yield* hasRoom.open
      })

    /** Begins what may begin; whether more is due than there is room for. */
    const pagesFrom = (after: DueAccount | undefined, pages: number): Effect.Effect<boolean, StorageError> =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const page = yield* storages.due({ before: Round.horizon(limits, now), limit: pageSize, after })
        if (after === undefined) {
          const oldestDue = Option.map(Option.fromNullable(page[0]), ({ dueAt }) => dueAt)
          status = { ...status, due: 0, oldestDue }
        }
        status = { ...status, due: status.due + page.length }
        const next = Round.begin(limits, load, page, managers.serverOf, now)
        load = next.load
        next.begun.forEach((account) => fork(renew(account)))
        if (load.running.size >= limits.concurrency) return true
        return page.length < pageSize || pages >= mostPages ? false : yield* pagesFrom(page.at(-1), pages + 1)
      })

    // Where more is due than there is room for, the next round begins as soon as half of the room is free.
    const rounds: Effect.Effect<void, StorageError> = Effect.gen(function* () {
      yield* hasRoom.close
      const isFull = yield* pagesFrom(undefined, 1)
      if (!isFull) return
      yield* hasRoom.await
      return yield* rounds
    })

    yield* rounds.pipe(
      Effect.catchAll((error) =>
        Effect.logWarning("latchkey: storage does not say what is due", error.message)
      ),
      Effect.schedule(Schedule.spaced(every)),
      Effect.interruptible,
      Effect.forkScoped
    )
    return Renewer.of({ status: Effect.sync(() => status) })
  })

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
