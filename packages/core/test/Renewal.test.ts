import { describe, expect, it } from "@effect/vitest"
import {
  Clock,
  type Context,
  Deferred,
  Duration,
  Either,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Scope,
  Stream,
  TestClock,
  TestServices
} from "effect"
import {
  Credentials,
  Entry,
  RefreshLease,
  Renewal,
  TokenConfig,
  TokenManager,
  TokenManagers,
  TokenRefresher,
  TokenStorage,
  TokenStorages
} from "@latchkey/core"
import { grant, minute, peerWrites, settle, start, token } from "./support/Bench.js"

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

const failure = (reason: TokenRefresher.RefreshReason) =>
  new TokenRefresher.RefreshError({ reason, message: reason })

const names = (prefix: string, n: number) => Array.from({ length: n }, (_, i) => `${prefix}${i}`)

const storagesOf = (accounts: ReadonlyArray<string>, lifetime = 10 * minute) =>
  TokenStorages.makeMemory(
    accounts.map((account) => [account, Entry.first(login(account, 1, lifetime, start))] as const)
  )

interface PoolSetup extends TokenManagers.SharedOptions {
  readonly storages: Context.Tag.Service<TokenStorages.TokenStorages>
  readonly refreshers: Context.Tag.Service<TokenRefresher.TokenRefresher>
  readonly renewal?: Renewal.Options
  readonly lease?: Context.Tag.Service<RefreshLease.RefreshLease>
  readonly instance?: string
}

const poolOf = ({ instance = "test", lease, refreshers, renewal, storages, ...options }: PoolSetup) =>
  Effect.gen(function* () {
    return yield* TokenManagers.makeShared(options).pipe(
      Effect.provideService(TokenStorages.TokenStorages, storages),
      Effect.provideService(TokenRefresher.TokenRefresher, refreshers),
      Effect.provideService(RefreshLease.RefreshLease, lease ?? (yield* RefreshLease.makeProcess)),
      Effect.provideService(TokenConfig.TokenConfig, yield* TokenConfig.make({ instance })),
      Effect.provideService(Renewal.Renewal, yield* Renewal.make(renewal))
    )
  })

const began = TestClock.setTime(start)

/** A clock that can be set without the timers noticing, as when the machine sleeps. */
const settable = Effect.map(Effect.clock, (clock) => {
  const sleeps: Array<number> = []
  let shift = 0
  const moved: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + shift,
    currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + shift),
    unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos() + BigInt(shift) * 1_000_000n,
    currentTimeNanos: Effect.map(clock.currentTimeNanos, (now) => now + BigInt(shift) * 1_000_000n),
    sleep: (duration) => {
      sleeps.push(Duration.toMillis(duration))
      return clock.sleep(duration)
    }
  }
  return { clock: moved, sleeps, set: (by: number) => Effect.sync(() => void (shift += by)) }
})

describe("a manager with a Renewal", () => {
  const managed = (
    server: ReturnType<typeof serverOf>,
    storage: Context.Tag.Service<TokenStorage.TokenStorage>
  ) =>
    TokenManager.make({ account: "me" }).pipe(
      Effect.provideServiceEffect(Renewal.Renewal, Renewal.make()),
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

describe("many accounts", () => {
  it.scoped("that expire together are renewed one after another, over the window, each once", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 40)
      const server = serverOf()
      const pool = yield* poolOf({ storages: yield* storagesOf(accounts), refreshers: server.refresher })
      yield* pool.keep(accounts)
      yield* TestClock.adjust("6 minutes")
      expect(server.posts).toEqual([])
      expect(yield* pool.renewals).toMatchObject({ scheduled: 40, waiting: 0, running: 0 })
      yield* TestClock.adjust("2 minutes")
      expect(new Set(server.posts.map((post) => post.account)).size).toBe(40)
      expect(server.posts).toHaveLength(40)
      const times = server.posts.map((post) => post.at)
      expect(times).toEqual([...times].sort((a, b) => a - b))
      for (let eighth = 0; eighth < 8; eighth++) {
        const from = 6 * minute + (eighth * minute) / 4
        expect(times.filter((at) => at >= from && at <= from + minute / 4).length).toBeLessThan(15)
      }
      expect(Option.map(pool.unsafePeek("user7"), Redacted.value)).toEqual(Option.none())
      expect(yield* token(pool.getAccessToken("user7"))).toBe("user7-at-2")
      expect(Option.map(pool.unsafePeek("user7"), Redacted.value)).toEqual(Option.some("user7-at-2"))
    })
  )

  it.scoped("are renewed at most so many at a time, with room for callers", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 24)
      const server = serverOf(() => Effect.sleep("10 seconds"))
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: server.refresher,
        renewal: { perServer: 4, window: 0 }
      })
      yield* pool.keep(accounts)
      yield* TestClock.adjust("8 minutes")
      expect(server.mostAtOnce()).toBe(3)
      expect(yield* pool.renewals).toMatchObject({ waiting: 21, running: 3 })
      // One who asks for one that is waiting does not wait for those before it.
      const last = accounts.find((account) => server.posts.every((post) => post.account !== account)) ?? ""
      const caller = yield* Effect.fork(
        Effect.scoped(Effect.flatMap(pool.get(last), (manager) => token(manager.refresh)))
      )
      yield* TestClock.adjust("10 seconds")
      expect(yield* Fiber.join(caller)).toBe(`${last}-at-2`)
      expect(server.mostAtOnce()).toBe(4)
      yield* TestClock.adjust("90 seconds")
      expect(server.posts).toHaveLength(24)
      expect(server.mostAtOnce()).toBe(4)
    })
  )

  it.scoped("begin no more often than a server allows", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 12)
      const server = serverOf()
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: server.refresher,
        renewal: { perSecond: 2, window: 0 }
      })
      yield* pool.keep(accounts)
      yield* TestClock.adjust("8 minutes")
      yield* TestClock.adjust("6 seconds")
      expect(server.posts).toHaveLength(12)
      const times = server.posts.map((post) => post.at)
      for (const at of times)
        expect(times.filter((t) => t >= at && t < at + 1000).length).toBeLessThanOrEqual(3)
      expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(5000)
    })
  )

  it.scoped("leave timers their turn, however many are due, where nothing takes time", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("a", 500)
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: serverOf().refresher
      })
      yield* pool.keep(accounts)
      const scheduled = new Set<number>()
      for (let n = 0; n < accounts.length;) {
        yield* TestServices.provideLive(Effect.sleep(0))
        n = (yield* pool.renewals).scheduled
        scheduled.add(n)
      }
      expect(scheduled.size).toBeGreaterThan(5)
    })
  )

  it.scoped("follow their cool-down when they fail, and hold up no other", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = [...names("good", 5), "bad"]
      const server = serverOf((account, call) =>
        account === "bad" && call < 6 ? failure("Transient") : Effect.void
      )
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: server.refresher,
        renewal: { perServer: 2, window: 0 }
      })
      yield* pool.keep(accounts)
      yield* TestClock.adjust("9 minutes")
      const times = (account: string) => server.posts.filter((p) => p.account === account).map((p) => p.at)
      expect(names("good", 5).map((account) => times(account).length)).toEqual([1, 1, 1, 1, 1])
      const gaps = times("bad")
        .slice(1)
        .map((at, i) => at - times("bad")[i]!)
      expect(gaps).toHaveLength(5)
      gaps.forEach((gap, i) => {
        expect(gap).toBeGreaterThanOrEqual(0.75 * 1000 * 2 ** i)
        expect(gap).toBeLessThanOrEqual(Math.max(2000, 1000 * 2 ** i) + 1)
      })
      expect(yield* token(pool.getAccessToken("bad"))).toBe("bad-at-7")
    })
  )

  it.scoped("whose server never answers hold up no other server, and no other account", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = [...names("stuck", 6), ...names("good", 6), ...names("other", 6)]
      const gate = yield* Deferred.make<void>()
      const slow = serverOf(
        (account) => (account.startsWith("stuck") ? Deferred.await(gate) : Effect.void),
        10 * minute,
        60 * minute
      )
      const other = serverOf()
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: slow.refresher,
        refresher: (account) => (account.startsWith("other") ? other : slow).refresher,
        renewal: { perServer: 4, window: 0 }
      })
      yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
      yield* pool.keep(accounts)
      yield* TestClock.adjust("8 minutes")
      yield* TestClock.adjust("1 second")
      expect(other.posts).toHaveLength(6)
      // The first time nobody knows which ones do not answer: they may have three of four places for a while.
      yield* TestClock.adjust("65 seconds")
      expect(slow.posts.filter((post) => post.account.startsWith("good"))).toHaveLength(6)
      // Now it is known of each, and they have half of the places.
      yield* TestClock.adjust("8 minutes")
      yield* TestClock.adjust("30 seconds")
      expect(slow.posts.filter((post) => post.account.startsWith("good"))).toHaveLength(12)
      const stuck = slow.posts.filter((post) => post.account.startsWith("stuck"))
      expect(stuck.length).toBeGreaterThan(6)
      expect(stuck.length).toBeLessThan(60)
    })
  )

  it.scoped("hold up no other server, however many servers hang", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = [...names("stuck", 12), ...names("good", 4)]
      const gate = yield* Deferred.make<void>()
      const server = serverOf(
        (account) => (account.startsWith("stuck") ? Deferred.await(gate) : Effect.void),
        10 * minute,
        60 * minute
      )
      const pool = yield* poolOf({
        storages: yield* storagesOf(accounts),
        refreshers: server.refresher,
        server: (account) => (account.startsWith("good") ? "good" : account),
        renewal: { concurrency: 4, window: 0 }
      })
      yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
      yield* pool.keep(accounts)
      yield* TestClock.adjust("8 minutes")
      expect(yield* pool.renewals).toMatchObject({ running: 4, waiting: 12 })
      const asked = Effect.scoped(Effect.flatMap(pool.get("good0"), (manager) => token(manager.refresh)))
      expect(yield* asked).toBe("good0-at-2")
      yield* TestClock.adjust("91 seconds")
      expect(
        new Set(server.posts.filter((p) => p.account.startsWith("good")).map((p) => p.account)).size
      ).toBe(4)
      // Known to be in trouble, they have half of the places.
      expect(yield* pool.renewals).toMatchObject({ running: 2 })
    })
  )

  it.scoped("that are due later are not held up by one that hangs at the same server", () =>
    Effect.gen(function* () {
      yield* began
      const gate = yield* Deferred.make<void>()
      const server = serverOf((account) => (account === "stuck" ? Deferred.await(gate) : Effect.void))
      const storages = yield* TokenStorages.makeMemory(
        [["stuck", 10 * minute] as const, ["good", 10 * minute + 10_000] as const].map(
          ([account, lifetime]) => [account, Entry.first(login(account, 1, lifetime, start))] as const
        )
      )
      const pool = yield* poolOf({ storages, refreshers: server.refresher, renewal: { window: 0 } })
      yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
      yield* pool.keep(["stuck", "good"])
      yield* TestClock.adjust("8 minutes")
      expect(server.posts.map(({ account }) => account)).toEqual(["stuck"])
      yield* TestClock.adjust("10 seconds")
      expect(server.posts.map(({ account }) => account)).toEqual(["stuck", "good"])
    })
  )

  it.scoped("whose answer was lost are repeated within the window, and not after it before they expire", () =>
    Effect.gen(function* () {
      yield* began
      const lost = () => failure("MaybeSent")
      const [open, strict] = [serverOf(lost, undefined, minute), serverOf(lost)]
      const pool = yield* poolOf({
        storages: yield* storagesOf(["open", "strict"]),
        refreshers: open.refresher,
        refresher: (account) => (account === "open" ? open : strict).refresher,
        renewal: { window: 0 }
      })
      yield* pool.keep(["open", "strict"])
      yield* TestClock.adjust("8 minutes")
      yield* TestClock.adjust("100 seconds")
      expect(open.posts.length).toBeGreaterThan(3)
      expect(strict.posts).toHaveLength(1)
      yield* TestClock.adjust("21 seconds")
      expect(strict.posts).toHaveLength(2)
    })
  )

  it.scoped("that are dead are not posted again until storage changes", () =>
    Effect.gen(function* () {
      yield* began
      const storages = yield* storagesOf(["me"])
      const server = serverOf((_, call) => (call === 1 ? failure("GrantDead") : Effect.void))
      const pool = yield* poolOf({ storages, refreshers: server.refresher })
      yield* pool.keep(["me", "nobody"])
      yield* TestClock.adjust("8 minutes")
      yield* TestClock.adjust("3 hours")
      expect(server.posts).toHaveLength(1)
      const now = yield* Clock.currentTimeMillis
      const storage = yield* storages.of("me")
      yield* peerWrites(storage, (entry) => Entry.saved(Option.some(entry), login("me", 9, 10 * minute, now)))
      const nobody = yield* storages.of("nobody")
      yield* nobody.commit(Entry.first(login("nobody", 1, 10 * minute, now)), Option.none())
      yield* TestClock.adjust("8 minutes")
      yield* TestClock.adjust("10 seconds")
      expect(
        server.posts
          .slice(1)
          .map((post) => post.account)
          .sort()
      ).toEqual(["me", "nobody"])
    })
  )

  it.scoped("that are dead are looked at now and then where storage does not tell of changes", () =>
    Effect.gen(function* () {
      yield* began
      const told = yield* storagesOf(["me"])
      const storages = TokenStorages.mapStorage({ ...told, changes: Option.none() }, (storage) => ({
        ...storage,
        changes: Option.none()
      }))
      const server = serverOf((_, call) => (call === 1 ? failure("GrantDead") : Effect.void))
      const pool = yield* poolOf({ storages, refreshers: server.refresher })
      yield* pool.keep(["me"])
      yield* TestClock.adjust("1 hour")
      expect(server.posts).toHaveLength(1)
      const now = yield* Clock.currentTimeMillis
      yield* peerWrites(yield* storages.of("me"), (entry) =>
        Entry.saved(Option.some(entry), login("me", 9, 30 * minute, now))
      )
      yield* TestClock.adjust("30 minutes")
      expect(server.posts).toHaveLength(2)
    })
  )

  it.scoped("of two instances are each renewed by one of them", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 30)
      const storages = yield* storagesOf(accounts)
      const lease = yield* RefreshLease.makeProcess
      const servers = [serverOf(() => Effect.sleep(200)), serverOf(() => Effect.sleep(200))] as const
      for (const [i, server] of servers.entries()) {
        const pool = yield* poolOf({ storages, lease, refreshers: server.refresher, instance: `${i}` })
        yield* pool.keep(accounts)
      }
      yield* TestClock.adjust("8 minutes")
      yield* TestClock.adjust("5 seconds")
      const [one, two] = servers.map((server) => server.posts.map((post) => post.account))
      expect([...one!, ...two!].sort()).toEqual([...accounts].sort())
      expect(one!.length).toBeGreaterThan(5)
      expect(two!.length).toBeGreaterThan(5)
    })
  )
})

describe("the clock", () => {
  it.scoped("may jump: what is due by then is renewed within a minute of waking", () =>
    Effect.gen(function* () {
      yield* began
      const { clock, set } = yield* settable
      const accounts = names("user", 5)
      const server = serverOf(undefined, 60 * minute)
      const storages = yield* storagesOf(accounts, 60 * minute)
      const pool = yield* Effect.withClock(poolOf({ storages, refreshers: server.refresher }), clock)
      yield* Effect.withClock(pool.keep(accounts), clock)
      yield* TestClock.adjust("1 minute")
      yield* set(8 * 60 * minute)
      yield* TestClock.adjust("1 minute")
      expect(server.posts).toHaveLength(5)
      expect(yield* Effect.withClock(token(pool.getAccessToken("user1")), clock)).toBe("user1-at-2")
      // Set back: nothing but the next look at it changes.
      yield* set(-60 * minute)
      yield* TestClock.adjust("30 minutes")
      expect(yield* Effect.withClock(token(pool.getAccessToken("user1")), clock)).toBe("user1-at-2")
      expect(server.posts).toHaveLength(5)
      yield* TestClock.adjust("88 minutes")
      expect(server.posts).toHaveLength(10)
    })
  )

  it.scoped("is looked at once a day at least, however far the next renewal is", () =>
    Effect.gen(function* () {
      yield* began
      const { clock, sleeps } = yield* settable
      const lifetime = 30 * 24 * 60 * minute
      const server = serverOf(undefined, lifetime)
      const pool = yield* Effect.withClock(
        poolOf({
          storages: yield* storagesOf(["me"], lifetime),
          refreshers: server.refresher,
          renewal: { lookEvery: "30 days" },
          idleTimeToLive: Infinity
        }),
        clock
      )
      yield* Effect.withClock(pool.keep(["me"]), clock)
      yield* TestClock.adjust("30 days")
      expect(server.posts).toHaveLength(1)
      expect(Math.max(...sleeps)).toBe(24 * 60 * minute)
    })
  )
})

describe("a pool over shared storage", () => {
  it.scoped("lets idle accounts go, with their renewal, and keeps those that are held", () =>
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
      expect(server.posts.map((post) => post.account)).toEqual(["held"])
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
      // Held from here on, and due: it is renewed for that.
      yield* Effect.scoped(pool.get("user1"))
      expect([...(yield* pool.status()).keys()]).toEqual(["user1"])
    })
  )

  it.scoped("says which accounts it cannot keep, and keeps the others", () =>
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
      expect([...(yield* pool.keep(["", "me"]))]).toEqual([["", refused]])
      expect(yield* Effect.flip(pool.getAccessToken(""))).toBe(refused)
      expect(yield* pool.accounts).toEqual(["me"])
    })
  )

  it.scoped("tells what happens to whom", () =>
    Effect.gen(function* () {
      yield* began
      const accounts = names("user", 3)
      const server = serverOf()
      const pool = yield* poolOf({ storages: yield* storagesOf(accounts), refreshers: server.refresher })
      yield* pool.keep(accounts)
      const seen = yield* Effect.fork(
        pool.events.pipe(
          Stream.filter(({ event }) => event._tag === "Refreshed"),
          Stream.map(({ account }) => account),
          Stream.take(3),
          Stream.runCollect
        )
      )
      yield* settle
      yield* TestClock.adjust("8 minutes")
      expect([...(yield* Fiber.join(seen))].sort()).toEqual(accounts)
    })
  )

  it.scoped.each([-1, Number.NaN, "-1 second", "soon"])(
    "%s is no time to keep an account",
    (idleTimeToLive) =>
      Effect.gen(function* () {
        const options = { idleTimeToLive: idleTimeToLive as Duration.DurationInput }
        const made = TokenManagers.make({ ...options, services: () => Layer.die("It was built.") })
        expect(yield* Effect.flip(made)).toMatchObject({ path: ["idleTimeToLive"] })
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
                  return built === 1
                    ? Effect.zipRight(Deferred.await(gate), failing)
                    : Effect.succeed(storage)
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
                Effect.zipRight(
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

describe("settings that cannot work", () => {
  it.effect.each([
    ["concurrency", { concurrency: 0 }],
    ["perServer", { perServer: 1.5 }],
    ["perSecond", { perSecond: Number.NaN }],
    ["window", { window: Infinity }],
    ["window", { window: -1 }],
    ["lookEvery", { lookEvery: 0 }]
  ] as const)("%s are named", ([setting, options]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.scoped(Renewal.make(options)))
      expect(error).toMatchObject({ _op: "InvalidData", path: [setting] })
    })
  )
})
