/** The fixture of the manager's tests: a manager over memory, a script, and a clock that the test moves. */
import {
  type ConfigError,
  Context,
  Effect,
  Fiber,
  Layer,
  Option,
  Redacted,
  type Scope,
  TestClock
} from "effect"
import {
  Credentials,
  Entry,
  type GrantIdentity,
  RefreshLease,
  type RotationPolicy,
  TokenConfig,
  TokenManager,
  TokenStorage
} from "@latchkey/core"
import { FaultyStorage, ScriptedRefresher } from "@latchkey/core/testing"

export const minute = 60_000
/** Where the test clock stands when a test begins. */
export const start = 1_700_000_000_000

/** A grant whose token was obtained now and lives for `expiresIn` milliseconds. */
export const grant = (n: number, expiresIn: number, now = start): Credentials.Credentials =>
  Credentials.make({
    accessToken: `at-${n}`,
    refreshToken: `rt-${n}`,
    obtainedAt: now,
    expiresAt: now + expiresIn,
    accountId: "acct-1",
    scopes: ["openid"]
  })

/** The n-th refresh answers `at-(100+n)`, `rt-(100+n)`, ten minutes. */
export const rotate = (n: number, options: { readonly after?: number; readonly expiresIn?: number } = {}) =>
  ScriptedRefresher.answer({
    accessToken: `at-${100 + n}`,
    refreshToken: `rt-${100 + n}`,
    expiresIn: options.expiresIn ?? 10 * minute,
    ...(options.after === undefined ? {} : { after: options.after })
  })

export interface Bench {
  readonly manager: TokenManager.Manager
  readonly storage: Context.Tag.Service<TokenStorage.TokenStorage>
  readonly calls: Context.Tag.Service<ScriptedRefresher.RefreshCalls>
}

export interface Setup {
  readonly script?: ReadonlyArray<ScriptedRefresher.Step> | ((call: number) => ScriptedRefresher.Step)
  readonly initial?: Credentials.Credentials
  readonly config?: TokenConfig.Options
  readonly faults?: ReadonlyArray<FaultyStorage.Fault>
  /** One commit that takes this long: on its way there, or back (`after`). */
  readonly slowCommit?: { readonly call: number; readonly millis: number; readonly when?: "after" }
  /** One load whose answer takes this long. */
  readonly slowLoad?: { readonly call: number; readonly millis: number }
  readonly manager?: TokenManager.Options
  /** Leases that others have a part in. */
  readonly lease?: Context.Tag.Service<RefreshLease.RefreshLease>
  readonly needsRefreshToken?: boolean
  readonly rotation?: RotationPolicy.RotationPolicy
  /** Whose grants the refresher redeems. */
  readonly identity?: GrantIdentity.GrantIdentity
  readonly formerly?: ReadonlyArray<string>
  /** What storage holds at first, where it is more than credentials. */
  readonly entry?: Entry.Entry
}

/** Everything of a bench as one layer, over one storage that the test reaches past the faults. */
export const bench = (setup: Setup = {}): Effect.Effect<Bench, ConfigError.ConfigError, Scope.Scope> =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const storage = yield* TokenStorage.makeMemory(
      Option.orElse(Option.fromNullable(setup.entry), () =>
        Option.map(Option.fromNullable(setup.initial), (c) => Entry.first(c))
      )
    )
    const services = yield* Layer.build(
      Layer.mergeAll(
        Layer.succeed(
          TokenStorage.TokenStorage,
          slowed(FaultyStorage.make(storage, setup.faults ?? []), setup.slowCommit, setup.slowLoad)
        ),
        setup.lease === undefined
          ? RefreshLease.layerProcess
          : Layer.succeed(RefreshLease.RefreshLease, setup.lease),
        TokenConfig.layer({ instance: "test", ...setup.config }),
        ScriptedRefresher.layer(setup.script ?? ((n) => rotate(n)), {
          ...(setup.needsRefreshToken !== undefined && { needsRefreshToken: setup.needsRefreshToken }),
          ...(setup.rotation !== undefined && { rotation: setup.rotation }),
          ...(setup.identity !== undefined && { identity: setup.identity }),
          ...(setup.formerly !== undefined && { formerly: setup.formerly })
        })
      )
    )
    const manager = yield* Effect.provide(TokenManager.make(setup.manager), services)
    return { manager, storage, calls: Context.get(services, ScriptedRefresher.RefreshCalls) }
  })

const slowed = (
  inner: Context.Tag.Service<TokenStorage.TokenStorage>,
  slow: Setup["slowCommit"],
  slowLoad: Setup["slowLoad"]
): Context.Tag.Service<TokenStorage.TokenStorage> => {
  let commits = 0
  let loads = 0
  return TokenStorage.TokenStorage.of({
    location: inner.location,
    load: Effect.suspend(() =>
      ++loads === slowLoad?.call ? Effect.tap(inner.load, () => Effect.sleep(slowLoad.millis)) : inner.load
    ),
    commit: (entry, expected) =>
      Effect.suspend(() => {
        const commit = inner.commit(entry, expected)
        if (++commits !== slow?.call) return commit
        const sleep = Effect.sleep(slow.millis)
        return slow.when === "after" ? Effect.tap(commit, () => sleep) : Effect.andThen(sleep, commit)
      }),
    remove: inner.remove,
    changes: inner.changes
  })
}

/** The token in clear, for comparing. */
export const token = <E, R>(effect: Effect.Effect<Redacted.Redacted, E, R>): Effect.Effect<string, E, R> =>
  Effect.map(effect, Redacted.value)

/** What storage holds, in clear. */
export const stored = (storage: Context.Tag.Service<TokenStorage.TokenStorage>) =>
  Effect.map(
    storage.load,
    Option.map(({ entry }) => ({
      access: Redacted.value(entry.credentials.accessToken),
      refresh: Option.getOrNull(Option.map(entry.credentials.refreshToken, Redacted.value)),
      generation: entry.generation,
      intent: Option.isSome(entry.intent),
      dead: Option.isSome(entry.dead)
    }))
  )

/** Another process writes, behind the manager's back. */
export const peerWrites = (
  storage: Context.Tag.Service<TokenStorage.TokenStorage>,
  change: (entry: Entry.Entry) => Entry.Entry
) =>
  Effect.gen(function* () {
    const loaded = Option.getOrThrow(yield* storage.load)
    yield* storage.commit(change(loaded.entry), Option.some(loaded.version))
  })

/** Lets forked fibers run until they wait for time or each other. */
export const settle = Effect.repeatN(Effect.yieldNow(), 50)

/** Runs an effect while the test clock moves on far enough for it. */
export const overTime = <A, E, R>(effect: Effect.Effect<A, E, R>, millis: number) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* settle
    yield* TestClock.adjust(millis)
    return yield* Fiber.join(fiber)
  })
