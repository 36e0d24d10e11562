import { describe, expect, it } from "@effect/vitest"
import type { Duration } from "effect"
import {
  Clock,
  type Context,
  Deferred,
  Either,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Scope,
  Stream,
  TestClock
} from "effect"
import {
  Credentials,
  Entry,
  RefreshLease,
  TokenConfig,
  TokenManager,
  TokenManagers,
  TokenRefresher,
  TokenStorage,
  TokenStorages
} from "@latchkey/core"
import { grant, minute, settle, start, token } from "./support/Bench.js"
import * as Edition from "./support/Edition.js"

interface Post {
  readonly account: string
  /** Since the start. */
  readonly at: number
}

/** A token server: what it was asked and when, how many at once, and what it does for whom. */
const serverOf = (
  behave: (account: string, call: number) => Effect.Effect<void, TokenRefresher.RefreshError> = () =>
    Effect.void,
  lifetime = 10 * minute,
  window = 0
) => {
  const posts: Array<Post> = []
  let inside = 0
  let mostAtOnce = 0
  const refresher = TokenRefresher.make({
    rotation: TokenRefresher.rotating(window),
    refresh: (credentials) =>
      Effect.gen(function* () {
        const account = Option.getOrThrow(credentials.accountId)
        const now = yield* Clock.currentTimeMillis
        posts.push({ account, at: now - start })
        const call = posts.filter((post) => post.account === account).length
        mostAtOnce = Math.max(mostAtOnce, ++inside)
        yield* Effect.ensuring(
          behave(account, call),
          Effect.sync(() => inside--)
        )
        return login(account, call + 1, lifetime, now)
      })
  })
  return { refresher, posts, mostAtOnce: () => mostAtOnce }
}

const login = (account: string, n: number, lifetime: number, now: number) =>
  Credentials.make({
    accessToken: `${account}-at-${n}`,
    refreshToken: `${account}-rt-${n}`,
    obtainedAt: now,
    expiresAt: now + lifetime,
    accountId: account
  })

const names = (prefix: string, n: number) => Array.from({ length: n }, (_, i) => `${prefix}${i}`)

const storagesOf = (accounts: ReadonlyArray<string>, lifetime = 10 * minute) =>
  TokenStorages.makeMemory(
    accounts.map((account) => [account, Entry.first(login(account, 1, lifetime, start))] as const)
  )

interface PoolSetup extends TokenManagers.SharedOptions {
  readonly storages: Context.Tag.Service<TokenStorages.TokenStorages>
  readonly refreshers: Context.Tag.Service<TokenRefresher.TokenRefresher>
  readonly instance?: string
}

const poolOf = ({ instance = "test", refreshers, storages, ...options }: PoolSetup) =>
  Effect.gen(function* () {
    return yield* TokenManagers.makeShared(options).pipe(
      Effect.provideService(TokenStorages.TokenStorages, storages),
      Effect.provideService(TokenRefresher.TokenRefresher, refreshers),
      Effect.provideService(RefreshLease.RefreshLease, yield* RefreshLease.makeProcess),
      Effect.provideService(TokenConfig.TokenConfig, yield* TokenConfig.make({ instance }))
    )
  })

const began = TestClock.setTime(start)

describe("a manager that renews", () => {
  const managed = (
    server: ReturnType<typeof serverOf>,
    storage: Context.Tag.Service<TokenStorage.TokenStorage>
  ) =>
    TokenManager.make({ account: "me", renew: true }).pipe(
      Effect.provideServiceEffect(RefreshLease.RefreshLease, RefreshLease.makeProcess),
      Effect.provideServiceEffect(TokenConfig.TokenConfig, TokenConfig.make({ instance: "test" })),
      Effect.provideService(TokenRefresher.TokenRefresher, server.refresher),
      Effect.provideService(TokenStorage.TokenStorage, storage)
    )
  const storage = TokenStorage.makeMemory(Option.some(Entry.first(login("me", 1, 10 * minute, start))))

  it.scoped("renews before the grace, without being asked, and again", () =>
    Effect.gen(function* () {
      yield* began
      const server = serverOf()
      const manager = yield* managed(server, yield* storage)
      yield* TestClock.adjust("6 minutes")
      expect(server.posts).toEqual([])
      yield* TestClock.adjust("2 minutes")
      expect(server.posts).toHaveLength(1)
      expect(yield* token(manager.getAccessToken)).toBe("me-at-2")
      yield* TestClock.adjust("8 minutes")
      expect(server.posts).toHaveLength(2)
      expect(yield* token(manager.getAccessToken)).toBe("me-at-3")
    })
  )

  it.scoped("stops with the scope, which waits for the renewal under way", () =>
    Effect.gen(function* () {
      yield* began
      const server = serverOf(() => Effect.sleep("5 seconds"))
      const scope = yield* Scope.make()
      const kept = yield* storage
      yield* Scope.extend(managed(server, kept), scope)
      yield* TestClock.adjust("6 minutes")
      while (server.posts.length === 0) yield* TestClock.adjust("1 second")
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(closing)
      const { entry } = Option.getOrThrow(yield* kept.load)
      expect(Redacted.value(entry.credentials.accessToken)).toBe("me-at-2")
      yield* TestClock.adjust("1 hour")
      expect(server.posts).toHaveLength(1)
    })
  )

  it.scoped("fetches a first token where none is needed to get one", () =>
    Effect.gen(function* () {
      yield* began
      const refresher = TokenRefresher.makeIndependent(() => Effect.succeed(grant(1, 10 * minute)))
      const empty = yield* TokenStorage.makeMemory()
      const manager = yield* managed({ ...serverOf(), refresher }, empty)
      yield* TestClock.adjust("5 seconds")
      expect(Option.map(yield* manager.peekAccessToken, Redacted.value)).toEqual(Option.some("at-1"))
    })
  )
})

describe("a pool over shared storage", () => {
  it.scoped("drops idle accounts, and keeps those that are held", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = ["held", "idle"]
      const server = serverOf()
      const pool = yield* poolOf({ storages: yield* storagesOf(accounts), refreshers: server.refresher })
      yield* pool.get("held")
      yield* Effect.scoped(pool.get("idle"))
      yield* pool.getAccessToken("idle")
      expect(yield* pool.accounts).toEqual(["held", "idle"])
      yield* TestClock.adjust("40 seconds")
      yield* pool.getAccessToken("idle")
      yield* TestClock.adjust("50 seconds")
      expect(yield* pool.accounts).toEqual(["held", "idle"])
      yield* TestClock.adjust("8 minutes")
      expect(yield* pool.accounts).toEqual(["held"])
      expect(server.posts).toEqual([])
    })
  )

  it.scoped("lets an account go whose events somebody followed for a while", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = ["followed", "left"]
      const server = serverOf()
      const pool = yield* poolOf({ storages: yield* storagesOf(accounts), refreshers: server.refresher })
      const follow = (account: string) =>
        Effect.gen(function* () {
          const manager = yield* Effect.scoped(pool.get(account))
          const following = yield* Effect.fork(Stream.runDrain(manager.events))
          yield* settle
          return following
        })
      yield* follow("followed")
      yield* Fiber.interrupt(yield* follow("left"))
      yield* TestClock.adjust("2 minutes")
      expect(yield* pool.accounts).toEqual(["followed"])
    })
  )

  it.scoped("tells the status of many at once, and refreshes none for that", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 20)
      const storages = yield* storagesOf(accounts)
      const broken = TokenStorages.mapStorage(storages, (storage, account) =>
        account === "user3"
          ? {
              ...storage,
              load: Effect.fail(
                new TokenStorage.StorageError({
                  reason: "Denied",
                  operation: "load",
                  location: storage.location,
                  message: "no"
                })
              )
            }
          : storage
      )
      const server = serverOf()
      const pool = yield* poolOf({ storages: broken, refreshers: server.refresher })
      yield* TestClock.adjust("9 minutes")
      const all = yield* pool.status([...accounts, "nobody"])
      expect([...all].filter(([, s]) => s._tag === "Right" && s.right.authenticated)).toHaveLength(19)
      expect(all.get("user3")).toMatchObject({ _tag: "Left", left: { reason: "Denied" } })
      expect(all.get("nobody")).toMatchObject({ _tag: "Right", right: { authenticated: false } })
      expect(yield* pool.accounts).toEqual([])
      expect(server.posts).toEqual([])
      yield* Effect.scoped(pool.get("user1"))
      expect([...(yield* pool.status()).keys()]).toEqual(["user1"])
    })
  )

  it.scoped("fails for an account that storage refuses, and for no other", () =>
    Effect.gen(function* () {
      yield* began
      const storages = yield* storagesOf(["me"])
      const refused = new TokenStorage.StorageError({
        reason: "Malformed",
        operation: "load",
        location: "memory",
        message: "The account is blank."
      })
      const server = serverOf()
      const pool = yield* poolOf({
        storages: {
          ...storages,
          of: (account) => (account === "" ? Either.left(refused) : storages.of(account))
        },
        refreshers: server.refresher
      })
      expect(yield* Effect.flip(pool.getAccessToken(""))).toBe(refused)
      expect(yield* token(pool.getAccessToken("me"))).toBe("me-at-1")
      expect(yield* pool.accounts).toEqual(["me"])
    })
  )

  it.scoped("tells what happens to whom", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 3)
      const server = serverOf()
      const pool = yield* poolOf({ storages: yield* storagesOf(accounts), refreshers: server.refresher })
      const seen = yield* Effect.fork(
        pool.events.pipe(
          Stream.filter(({ event }) => event._tag === "Refreshed"),
          Stream.map(({ account }) => account),
          Stream.take(3),
          Stream.runCollect
        )
      )
      yield* settle
      yield* TestClock.adjust("9 minutes")
      yield* Effect.forEach(accounts, (account) => pool.getAccessToken(account))
      expect([...(yield* Fiber.join(seen))].sort()).toEqual(accounts)
    })
  )

  it.scoped.each([-1, Number.NaN, "-1 second", "soon"])(
    "%s is no time to keep an account",
    (idleTimeToLive) =>
      Effect.gen(function* () {
        const options = { idleTimeToLive: idleTimeToLive as Duration.DurationInput }
        const made = TokenManagers.make({
          ...options,
          services: () => Layer.effectContext(Effect.die("It was built."))
        })
        expect(Edition.invalidSetting(yield* Effect.flip(made))).toMatchObject({ path: ["idleTimeToLive"] })
      })
  )

  it.scoped(
    "builds what an account needs once, for all who ask meanwhile, and tries again where that failed",
    () =>
      Effect.gen(function* () {
        yield* began
        const gate = yield* Deferred.make<void>()
        let built = 0
        const failing = new TokenStorage.StorageError({
          reason: "Unavailable",
          operation: "load",
          location: "x",
          message: "down"
        })
        const storage = yield* TokenStorage.makeMemory(
          Option.some(Entry.first(login("me", 1, 10 * minute, start)))
        )
        const pool = yield* TokenManagers.make({
          services: () =>
            Layer.mergeAll(
              Layer.effect(
                TokenStorage.TokenStorage,
                Effect.suspend(() => {
                  built++
                  return built === 1 ? Effect.andThen(Deferred.await(gate), failing) : Effect.succeed(storage)
                })
              ),
              RefreshLease.layerProcess,
              TokenConfig.layer(),
              Layer.succeed(TokenRefresher.TokenRefresher, serverOf().refresher)
            )
        })
        const first = yield* Effect.fork(pool.getAccessToken("me"))
        const others = yield* Effect.forEach(names("", 5), () =>
          Effect.fork(Effect.flip(pool.getAccessToken("me")))
        )
        yield* settle
        // Who began it may go: it is built for the others.
        yield* Fiber.interrupt(first)
        yield* Deferred.succeed(gate, undefined)
        expect(yield* Effect.forEach(others, Fiber.join)).toEqual(names("", 5).map(() => failing))
        expect(built).toBe(1)
        expect(yield* token(pool.getAccessToken("me"))).toBe("me-at-1")
        expect(built).toBe(2)
      })
  )

  it.scoped("lets go what was built for one who did not wait for it, and what that had open", () =>
    Effect.gen(function* () {
      yield* began
      const gate = yield* Deferred.make<void>()
      let open = 0
      const pool = yield* TokenManagers.make({
        services: () =>
          Layer.mergeAll(
            Layer.scoped(
              TokenStorage.TokenStorage,
              Effect.acquireRelease(
                Effect.andThen(
                  Deferred.await(gate),
                  Effect.tap(TokenStorage.makeMemory(), () => Effect.sync(() => void open++))
                ),
                () => Effect.sync(() => void open--)
              )
            ),
            RefreshLease.layerProcess,
            TokenConfig.layer(),
            Layer.succeed(TokenRefresher.TokenRefresher, serverOf().refresher)
          )
      })
      const asking = yield* Effect.fork(pool.getAccessToken("me"))
      yield* settle
      yield* Fiber.interrupt(asking)
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      expect(open).toBe(1)
      yield* TestClock.adjust("2 minutes")
      expect(yield* pool.accounts).toEqual([])
      yield* settle
      expect(open).toBe(0)
      yield* pool.status(["you"])
      expect(open).toBe(0)
    })
  )
})

describe("a pool is bounded", () => {
  it.scoped("in what it sends to a server at a time; accounts that fail have half of the places", () =>
    Effect.gen(function* () {
      yield* began
      const gate = yield* Deferred.make<void>()
      const stuck = names("stuck", 8)
      const good = names("good", 4)
      const server = serverOf((account) => (account.startsWith("stuck") ? Deferred.await(gate) : Effect.void))
      const pool = yield* poolOf({
        storages: yield* storagesOf([...stuck, ...good]),
        refreshers: server.refresher,
        perServer: 4
      })
      yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
      yield* TestClock.adjust("11 minutes")
      const ask = (accounts: ReadonlyArray<string>) =>
        Effect.forEach(accounts, (account) => Effect.fork(Effect.exit(pool.getAccessToken(account))))
      yield* ask(stuck)
      yield* settle
      expect(server.posts).toHaveLength(4)
      // Two time-outs later all have failed once. From now on they have two of the four places.
      yield* TestClock.adjust("61 seconds")
      expect(server.posts).toHaveLength(8)
      yield* ask(stuck)
      yield* settle
      expect(server.posts).toHaveLength(10)
      yield* ask(good)
      yield* settle
      expect(server.posts.slice(10).map(({ account }) => account)).toEqual(good)
    })
  )

  it.scoped("in how often it begins at a server", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 12)
      const server = serverOf()
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: server.refresher,
        perSecond: 2
      })
      yield* TestClock.adjust("11 minutes")
      yield* Effect.forEach(accounts, (account) => Effect.fork(pool.getAccessToken(account)))
      yield* TestClock.adjust("6 seconds")
      expect(server.posts).toHaveLength(12)
      const times = server.posts.map((post) => post.at)
      for (const at of times)
        expect(times.filter((t) => t >= at && t < at + 1000).length).toBeLessThanOrEqual(3)
      expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(5000)
    })
  )

  it.scoped("in how many accounts it keeps: those used longest ago go, and none that is in use", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 40)
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: serverOf().refresher,
        idleTimeToLive: Infinity,
        maxAccounts: 10
      })
      yield* pool.get("user0")
      for (const account of accounts) {
        yield* TestClock.adjust(10)
        yield* pool.getAccessToken(account)
      }
      yield* settle
      const left = yield* pool.accounts
      expect(left.length).toBeLessThanOrEqual(11)
      expect(left).toEqual(["user0", ...accounts.slice(-left.length + 1)])
      // More in use than are kept: all of them stay.
      yield* Effect.forEach(accounts, pool.get)
      yield* settle
      expect([...(yield* pool.accounts)].sort()).toEqual([...accounts].sort())
    })
  )
})

describe("settings that cannot work", () => {
  it.scoped.each([
    ["perServer", { perServer: 1.5 }],
    ["perSecond", { perSecond: Number.NaN }],
    ["perSecond", { perSecond: 0 }],
    ["maxAccounts", { maxAccounts: 0 }]
  ] as const)("%s are named", ([setting, options]) =>
    Effect.gen(function* () {
      const made = TokenManagers.make({
        ...options,
        services: () => Layer.effectContext(Effect.die("It was built."))
      })
      expect(Edition.invalidSetting(yield* Effect.flip(made))).toMatchObject({ path: [setting] })
    })
  )
})
