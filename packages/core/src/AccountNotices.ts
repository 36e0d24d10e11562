/**
 * Reports when an account begins to need its user, and when it recovers: for a mail to the user, or for a
 * webhook.
 *
 * It follows the events of the pool, and asks storage about the accounts that need their user, so that it also
 * reports a recovery in another process. At its start it reads which accounts need their user already, and
 * reports none of them. A process reports the deaths that it sees itself. Several processes may report the same
 * recovery, with the same `id`.
 *
 * @since 0.1.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AccountNotice from "./AccountNotice.js"
import * as Entry from "./Entry.js"
import { deadMark } from "./grant/Marks.js"
import { invalid, millis } from "./internal/Settings.js"
import { type AccountEvent, TokenManagers } from "./TokenManagers.js"
import type { StorageError } from "./TokenStorage.js"
import { TokenStorages } from "./TokenStorages.js"

/**
 * The notices, from now on. A slow reader misses the oldest beyond 1,024.
 *
 * @since 0.1.0
 * @category tags
 */
export class AccountNotices extends Context.Tag("@latchkey/core/AccountNotices")<
  AccountNotices,
  { readonly notices: Stream.Stream<AccountNotice.AccountNotice> }
>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often storage is asked about the accounts that need their user. Default: a minute. */
  readonly every?: Duration.DurationInput
}

/** How many accounts that need their user are followed, and how many are read at a time. */
const mostAccounts = 10_000
const together = 16

/** How many notices a slow reader may be behind. */
const backlog = 1024

/** After these, storage may hold another grant. */
const changes: ReadonlySet<AccountEvent["event"]["_tag"]> = new Set([
  "Saved",
  "Adopted",
  "Refreshed",
  "Cleared"
])

/**
 * Starts to follow the accounts, and stops with the scope. Fails with a `ConfigError` if `every` is not a
 * positive time.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<
  Context.Tag.Service<AccountNotices>,
  ConfigError.ConfigError,
  TokenManagers | TokenStorages | Scope.Scope
> =>
  Effect.gen(function* () {
    const every = yield* millis("every", options.every ?? "1 minute")
    if (every < 1) return yield* invalid("every", "must be a millisecond at least")
    const { events } = yield* TokenManagers
    const storages = yield* TokenStorages
    const notices = yield* PubSub.sliding<AccountNotice.AccountNotice>(backlog)
    yield* Effect.addFinalizer(() => PubSub.shutdown(notices))
    let known = AccountNotice.none

    const found = (account: string): Effect.Effect<Option.Option<AccountNotice.Found>, StorageError> =>
      Effect.map(
        Effect.flatMap(storages.of(account), ({ load }) => load),
        Option.map(({ entry }) => ({
          grant: Entry.grantFingerprint(entry.credentials),
          dead: Option.isSome(deadMark(entry))
        }))
      )

    const observe = (account: string, state: Option.Option<AccountNotice.Found>) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const isNew = !HashMap.has(known, account) && HashMap.size(known) >= mostAccounts
        const [next, notice] = AccountNotice.observe(known, account, state, now)
        if (!isNew) known = next
        return Option.match(notice, {
          onNone: () => Effect.void,
          onSome: (value) => Effect.asVoid(PubSub.publish(notices, value))
        })
      })

    const look = (account: string) => Effect.flatMap(found(account), (state) => observe(account, state))

    const follow = ({ account, event }: AccountEvent): Effect.Effect<void, StorageError> => {
      if (event._tag === "GrantDead") return observe(account, Option.some({ grant: event.grant, dead: true }))
      return changes.has(event._tag) && HashMap.has(known, account) ? look(account) : Effect.void
    }

    // Storage that fails is asked again in the next round.
    const later = Effect.catchAll((error: StorageError) =>
      Effect.logDebug("latchkey: storage did not say whether an account needs its user", error.message)
    )

    const recall = storages.accounts().pipe(
      Stream.filter(({ state }) => state === "Dead"),
      Stream.take(mostAccounts),
      Stream.mapEffect(({ account }) => Effect.map(found(account), (state) => ({ account, state })), {
        concurrency: together
      }),
      Stream.runForEach(({ account, state }) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          // What an event reported meanwhile is newer.
          if (!HashMap.has(known, account)) known = AccountNotice.observe(known, account, state, now)[0]
        })
      )
    )

    const poll = Effect.suspend(() =>
      Effect.forEach(Array.from(HashMap.keys(known)), (account) => later(look(account)), {
        concurrency: together,
        discard: true
      })
    )

    yield* Effect.forkScoped(Stream.runForEach(events, (happened) => later(follow(happened))))
    yield* recall.pipe(
      Effect.catchAll((error) =>
        Effect.andThen(
          Effect.logWarning(
            "latchkey: storage could not list the accounts that need their user",
            error.message
          ),
          Effect.andThen(Effect.sleep(every), Effect.fail(error))
        )
      ),
      Effect.eventually,
      Effect.andThen(Effect.forever(Effect.andThen(Effect.sleep(every), poll))),
      Effect.forkScoped
    )
    return { notices: Stream.fromPubSub(notices) }
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<AccountNotices, ConfigError.ConfigError, TokenManagers | TokenStorages> =>
  Layer.scoped(AccountNotices, make(options))
