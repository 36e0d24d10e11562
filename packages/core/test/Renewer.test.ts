/** The renewal of idle accounts that storage lists as due. */
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  Entry,
  RefreshLease,
  Renewer,
  TokenConfig,
  TokenManagers,
  TokenRefresher,
  TokenStorage,
  TokenStorages
} from "@latchkey/core"
import { Clock, type Context, Deferred, Effect, Exit, Option, Redacted, Scope, TestClock } from "effect"
import { minute, settle, start } from "./support/Bench.js"
import * as Edition from "./support/Edition.js"

const login = (account: string, n: number, obtainedAt: number, lifetime = 10 * minute) =>
  Credentials.make({
    accessToken: `${account}-at-${n}`,
    refreshToken: `${account}-rt-${n}`,
    obtainedAt,
    expiresAt: obtainedAt + lifetime,
    accountId: account
  })

const names = (prefix: string, n: number) => Array.from({ length: n }, (_, i) => `${prefix}${i}`)

/** A token server that counts requests, and behaves for each account as configured. */
const serverOf = (
  behave: (account: string) => Effect.Effect<void, TokenRefresher.RefreshError> = () => Effect.void,
  lifetime = 10 * minute
) => {
  const posts: Array<string> = []
  const refresher = TokenRefresher.make({
    rotation: TokenRefresher.rotating(),
    refresh: (credentials) =>
      Effect.gen(function* () {
        const account = Option.getOrThrow(credentials.accountId)
        posts.push(account)
        yield* behave(account)
        return login(account, posts.length + 1, yield* Clock.currentTimeMillis, lifetime)
      })
  })
  return { posts, refresher }
}

const unavailable = (operation: "load" | "commit") =>
  new TokenStorage.StorageError({ reason: "Unavailable", operation, location: "memory", message: "down" })

/** Two processes, or one, over the same accounts. */
const world = (
  accounts: ReadonlyArray<string>,
  refresher: (account: string) => ReturnType<typeof serverOf>["refresher"],
  alter: (
    storage: Context.Tag.Service<TokenStorage.TokenStorage>
  ) => Context.Tag.Service<TokenStorage.TokenStorage> = (storage) => storage,
  failingLists = 0
) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const whole = TokenStorages.mapStorage(
      yield* TokenStorages.makeMemory(
        accounts.map((account) => [account, Entry.first(login(account, 1, start))] as const)
      ),
      alter
    )
    let lists = 0
    const storages: typeof whole = {
      ...whole,
      due: (options) => (lists++ < failingLists ? Effect.fail(unavailable("load")) : whole.due(options))
    }
    const lease = yield* RefreshLease.makeProcess
    const process = (instance: string, options: Renewer.Options = {}) =>
      Effect.gen(function* () {
        const config = yield* TokenConfig.make({ instance })
        const services = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          effect.pipe(
            Effect.provideService(TokenStorages.TokenStorages, storages),
            Effect.provideService(RefreshLease.RefreshLease, lease),
            Effect.provideService(TokenConfig.TokenConfig, config),
            Effect.provideService(TokenRefresher.TokenRefresher, serverOf().refresher)
          )
        const managers = yield* services(TokenManagers.makeShared({ refresher }))
        const renewer = yield* services(
          Effect.provideService(
            Renewer.make({ every: step, ...options }),
            TokenManagers.TokenManagers,
            managers
          )
        )
        return { managers, renewer }
      })
    return { process, storages }
  })

/** As long as the renewers here sleep between two rounds: the test clock takes its time for each step. */
const step = 20_000
const pass = (millis: number) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(millis / step) }),
    () => Effect.andThen(TestClock.adjust(step), settle),
    { discard: true }
  )

describe("a renewer", () => {
  it.scoped("renews each account once before it expires, and holds none of them", () =>
    Effect.gen(function* () {
      const server = serverOf()
      const accounts = names("a", 80)
      const { process, storages } = yield* world(accounts, () => server.refresher)
      const { managers, renewer } = yield* process("one")
      yield* pass(5 * minute)
      expect(server.posts).toEqual([])
      // Between the window and the grace: each at its own moment.
      yield* pass(2 * minute)
      expect(server.posts.length).toBeGreaterThan(20)
      expect(server.posts.length).toBeLessThan(60)
      yield* pass(1.5 * minute)
      expect([...server.posts].sort()).toEqual([...accounts].sort())
      expect(yield* managers.accounts).toEqual([])
      expect(yield* storages.due({ before: start + 12 * minute, limit: 1000 })).toEqual([])
      expect(yield* renewer.status).toMatchObject({ renewed: 80, failed: 0 })
    })
  )

  it.scoped("shares the work with others: each account is renewed once", () =>
    Effect.gen(function* () {
      const server = serverOf(() => Effect.sleep(300))
      const accounts = names("a", 100)
      const { process } = yield* world(accounts, () => server.refresher)
      const one = yield* process("one", { window: 0 })
      const two = yield* process("two", { window: 0 })
      yield* pass(9 * minute)
      expect([...server.posts].sort()).toEqual([...accounts].sort())
      const done = [yield* one.renewer.status, yield* two.renewer.status]
      expect(done.map(({ failed }) => failed)).toEqual([0, 0])
      expect(done[0]!.renewed + done[1]!.renewed).toBe(100)
      expect(Math.min(done[0]!.renewed, done[1]!.renewed)).toBeGreaterThan(10)
    })
  )

  it.scoped("is not held up by a server that hangs, nor by one that fails", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const hanging = serverOf(() => Deferred.await(gate))
      const failing = serverOf(() =>
        Effect.fail(new TokenRefresher.RefreshError({ reason: "Transient", message: "503" }))
      )
      const good = serverOf()
      const of = (account: string) =>
        account.startsWith("h") ? hanging : account.startsWith("f") ? failing : good
      // More that hang and fail than come with one answer of storage, and all of them first.
      const accounts = [...names("f", 600), ...names("h", 600), ...names("ok", 20)]
      const { process } = yield* world(accounts, (account) => of(account).refresher)
      yield* process("one", { window: 0 })
      yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
      yield* pass(8 * minute + step)
      expect([...good.posts].sort()).toEqual(names("ok", 20).sort())
      expect(hanging.posts.length).toBe(16)
      expect(failing.posts.length).toBeLessThan(40)
    })
  )

  it.scoped("renews after a restart what came due meanwhile, and leaves dead grants alone", () =>
    Effect.gen(function* () {
      const dead = serverOf(() =>
        Effect.fail(new TokenRefresher.RefreshError({ reason: "GrantDead", message: "revoked" }))
      )
      const good = serverOf()
      const { process, storages } = yield* world(["dead", "good"], (account) =>
        account === "dead" ? dead.refresher : good.refresher
      )
      const scope = yield* Scope.make()
      yield* Scope.extend(process("one"), scope)
      yield* Scope.close(scope, Exit.void)
      yield* pass(15 * minute)
      expect(good.posts).toEqual([])
      yield* process("two")
      yield* pass(20_000)
      expect(good.posts).toEqual(["good"])
      expect(dead.posts).toEqual(["dead"])
      yield* pass(minute)
      expect(dead.posts).toEqual(["dead"])
      expect(yield* storages.due({ before: start + 16 * minute, limit: 10 })).toEqual([])
    })
  )

  it.scoped("keeps a rotation that storage does not take, until it does", () =>
    Effect.gen(function* () {
      const { posts, refresher } = serverOf()
      let isBroken = false
      const { process, storages } = yield* world(
        ["me"],
        () => refresher,
        (inner) => ({
          ...inner,
          commit: (entry, expected) =>
            isBroken && entry.generation > 1
              ? Effect.fail(unavailable("commit"))
              : inner.commit(entry, expected)
        })
      )
      const { managers } = yield* process("one")
      isBroken = true
      yield* pass(10 * minute)
      expect(posts).toEqual(["me"])
      expect(yield* managers.accounts).toEqual(["me"])
      isBroken = false
      yield* pass(2 * minute)
      expect(posts).toEqual(["me"])
      expect(yield* managers.accounts).toEqual([])
      const stored = yield* (yield* storages.of("me")).load
      expect(Redacted.value(Option.getOrThrow(stored).entry.credentials.accessToken)).toBe("me-at-2")
    })
  )

  it.scoped("goes on after storage failed to list what is due, and after a defect of its user's", () =>
    Effect.gen(function* () {
      const { posts, refresher } = serverOf()
      let failures = 3
      const { process } = yield* world(
        ["me"],
        () => {
          if (failures-- > 1) throw new Error("a user's defect")
          return refresher
        },
        undefined,
        3
      )
      yield* process("one")
      yield* pass(10 * minute)
      expect(posts).toEqual(["me"])
    })
  )

  it.scoped("reads a token that lives for less than the grace only when it is time", () =>
    Effect.gen(function* () {
      const { posts, refresher } = serverOf(() => Effect.void, minute)
      let reads = 0
      const { process } = yield* world(
        ["me"],
        () => refresher,
        (inner) => ({ ...inner, load: Effect.tap(inner.load, () => Effect.sync(() => reads++)) })
      )
      yield* process("one", { every: "1 second" })
      yield* TestClock.adjust(9 * minute)
      const [before, first] = [posts.length, reads]
      yield* TestClock.adjust(2 * minute)
      const renewals = posts.length - before
      expect(renewals).toBeGreaterThanOrEqual(2)
      expect(renewals).toBeLessThanOrEqual(5)
      expect(reads - first).toBeLessThanOrEqual(4 * renewals)
    })
  )

  it.scoped.each([
    ["every", { every: 0 }],
    ["window", { window: Infinity }],
    ["window", { window: -1 }],
    ["concurrency", { concurrency: 0 }],
    ["perServer", { perServer: 1.5 }]
  ] as const)("names a setting that cannot work: %s", ([setting, options]) =>
    Effect.gen(function* () {
      const { process } = yield* world([], () => serverOf().refresher)
      const error = yield* Effect.flip(process("one", options))
      expect(Edition.invalidSetting(error)).toMatchObject({ path: [setting] })
    })
  )
})
