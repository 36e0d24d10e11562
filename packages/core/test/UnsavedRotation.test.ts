/**
 * A rotation that storage does not accept at once: the lease is held until it does, so that no peer spends
 * the old token.
 */
import { describe, expect, it } from "@effect/vitest"
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
import { FaultyStorage } from "@latchkey/core/testing"
import type { Context } from "effect"
import { Effect, Either, Exit, Fiber, Layer, Option, Redacted, Scope, Stream, TestClock } from "effect"
import { grant, minute, settle, start, stored, token } from "./support/Bench.js"
import * as Edition from "./support/Edition.js"

/** A server that rotates without a window and ends the grant where a spent refresh token comes again. */
const strictServer = (options: { readonly spoils?: (post: number) => boolean } = {}) => {
  let current = "rt-1"
  let alive = true
  const posts: Array<string> = []
  const refuse = new TokenRefresher.RefreshError({ reason: "GrantDead", message: "invalid_grant" })
  const refresher = TokenRefresher.make({
    refresh: (previous, refreshToken) =>
      Effect.clockWith((clock) => {
        const sent = Redacted.value(refreshToken)
        posts.push(sent)
        if (!alive || sent !== current) {
          alive = false
          return refuse
        }
        current = `rt-${posts.length + 1}`
        const credentials = new Credentials.Credentials({
          ...previous,
          ...grant(posts.length + 1, 10 * minute, clock.unsafeCurrentTimeMillis())
        })
        return options.spoils?.(posts.length) === true
          ? new TokenRefresher.RefreshError({
              reason: "Malformed",
              message: "No access token.",
              salvaged: new Credentials.Credentials({ ...previous, refreshToken: credentials.refreshToken })
            })
          : Effect.succeed(credentials)
      })
  })
  return {
    refresher,
    posts,
    revoke: () => (alive = false),
    get isAlive() {
      return alive
    }
  }
}

type Storage = Context.Tag.Service<TokenStorage.TokenStorage>
type Lease = Context.Tag.Service<RefreshLease.RefreshLease>

/** The commit of the first rotation, which comes after that of its intent, takes this long. */
const slowToCommit = (storage: Storage, millis: number): Storage => {
  let commits = 0
  return {
    ...storage,
    commit: (entry, expected) =>
      ++commits === 2
        ? Effect.andThen(Effect.sleep(millis), storage.commit(entry, expected))
        : storage.commit(entry, expected)
  }
}

interface World {
  readonly storage: Storage
  readonly lease: Lease
  readonly server: ReturnType<typeof strictServer>
}

const world = (server = strictServer()) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const storage = yield* TokenStorage.makeMemory(Option.some(Entry.first(grant(1, minute))))
    return { storage, lease: yield* RefreshLease.makeProcess, server }
  })

const config = { instance: "test", leaseTtl: "31 seconds", refreshTimeout: "30 seconds" } as const

const services = (w: World, storage: Storage, lease: Lease = w.lease) =>
  Layer.mergeAll(
    Layer.succeed(TokenStorage.TokenStorage, storage),
    Layer.succeed(RefreshLease.RefreshLease, lease),
    Layer.succeed(TokenRefresher.TokenRefresher, w.server.refresher),
    TokenConfig.layer(config)
  )

const manager = (w: World, storage: Storage = w.storage, lease?: Lease) =>
  Effect.flatMap(Layer.build(services(w, storage, lease)), (context) =>
    Effect.provide(TokenManager.make({ account: "grant" }), context)
  )

/** All commits fail from the `first` on until it is mended. */
const broken = (
  storage: Storage,
  first: number,
  options: Omit<FaultyStorage.Fault, "operation" | "call"> & { readonly loads?: boolean } = {}
) => {
  let isBroken = true
  const { loads, ...fault } = options
  return {
    storage: FaultyStorage.make(storage, [
      { ...fault, operation: "commit", call: (n) => isBroken && n >= first },
      { operation: "load", call: (n) => isBroken && loads === true && n > 3 }
    ]),
    mend: () => void (isBroken = false)
  }
}

/** One that another writer is always faster than, from the second commit on, `times` times. */
const contended = (storage: Storage, times: number): Storage => {
  let commits = 0
  return {
    location: storage.location,
    load: storage.load,
    remove: storage.remove,
    changes: storage.changes,
    commit: (entry, expected) =>
      Effect.suspend(() => {
        const n = ++commits
        return n >= 2 && n < 2 + times
          ? Effect.fail(new TokenStorage.CommitRefused({ reason: "Conflict", location: storage.location }))
          : storage.commit(entry, expected)
      })
  }
}

const faults =
  (call: FaultyStorage.Fault["call"], more: Partial<FaultyStorage.Fault> = {}) =>
  (storage: Storage) =>
    FaultyStorage.make(storage, [{ ...more, operation: "commit", call }])

/** What A's storage does to the commits after its request: the first is that of the intent. */
const mishaps: ReadonlyArray<readonly [what: string, around: (storage: Storage) => Storage]> = [
  ["fails once", faults(2)],
  ["fails ten times", faults((n) => n > 1 && n <= 11)],
  ["fails for longer than the lease lasts", faults((n) => n > 1 && n <= 20)],
  ["is denied", faults((n) => n > 1 && n <= 4, { reason: "Denied" })],
  ["goes through, and its result is lost", faults(2, { when: "after" })],
  [
    "goes through, and its result and those of the next are lost",
    faults((n) => n > 1 && n <= 4, { when: "after" })
  ],
  ["meets other writers again and again", (storage) => contended(storage, 30)]
]

describe("a rotation whose commit fails", () => {
  it.scoped.each(mishaps)("is not spent again by a peer where the commit %s (F1)", ([, around]) =>
    Effect.gen(function* () {
      const w = yield* world()
      const a = yield* manager(w, around(w.storage))
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      // No time passes for the callers of A, whatever storage does.
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      const peer = yield* Effect.fork(Effect.either(token(b.getAccessToken)))
      yield* settle
      for (let i = 0; i < 120; i++) yield* TestClock.adjust(1000)
      const first = yield* Fiber.join(peer)
      // A peer may wait in vain, but it sends nothing.
      if (Either.isRight(first)) expect(first.right).toBe("at-2")
      else expect(first.left).toMatchObject({ reason: "LeaseBusy" })
      expect(yield* token(b.getAccessToken)).toBe("at-2")
      expect(w.server.posts).toEqual(["rt-1"])
      expect(yield* stored(w.storage)).toEqual(
        Option.some({ access: "at-2", refresh: "rt-2", generation: 2, intent: false, dead: false })
      )
      expect((yield* a.status).warnings).toEqual([])
      // The lease is free again, and the grant lives.
      yield* TestClock.adjust(9 * minute)
      expect(yield* token(b.getAccessToken)).toBe("at-3")
      expect(w.server.isAlive).toBe(true)
    })
  )

  it.scoped("salvaged from a malformed answer, is kept from peers too", () =>
    Effect.gen(function* () {
      const w = yield* world(strictServer({ spoils: (post) => post === 1 }))
      const a = yield* manager(w, faults((n) => n > 1 && n <= 6)(w.storage))
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      expect(yield* Effect.flip(a.getAccessToken)).toMatchObject({ reason: "Malformed" })
      const peer = yield* Effect.fork(token(b.getAccessToken))
      for (let i = 0; i < 60; i++) yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(peer)).toBe("at-3")
      expect(w.server.posts).toEqual(["rt-1", "rt-2"])
    })
  )

  it.scoped("reaches peers soon after storage works again, however long it did not", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const store = broken(w.storage, 2, { loads: true })
      const a = yield* manager(w, store.storage)
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      for (let i = 0; i < 20; i++) {
        yield* TestClock.adjust(15_000)
        expect(yield* token(a.getAccessToken)).toBe("at-2")
      }
      expect((yield* a.status).warnings).toContain("Unsaved")
      const peer = yield* Effect.fork(token(b.getAccessToken))
      yield* TestClock.adjust(10_000)
      expect(w.server.posts).toEqual(["rt-1"])
      store.mend()
      yield* TestClock.adjust(6000)
      expect(yield* Fiber.join(peer)).toBe("at-2")
      expect(w.server.isAlive).toBe(true)
    })
  )

  it.scoped("is in storage before anyone has its token, if storage takes less than a second", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const a = yield* manager(w, slowToCommit(w.storage, 900))
      yield* TestClock.adjust(minute)
      const asking = yield* Effect.fork(token(a.getAccessToken))
      const forcing = yield* Effect.fork(token(a.refresh))
      yield* settle
      yield* TestClock.adjust(899)
      expect(w.server.posts).toEqual(["rt-1"])
      expect(yield* Edition.poll(asking)).toEqual(Option.none())
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(asking)).toBe("at-2")
      expect(yield* Fiber.join(forcing)).toBe("at-2")
      expect((yield* a.status).warnings).toEqual([])
    })
  )

  it.scoped("does not keep the callers of a slow storage waiting, and its peer waits", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const a = yield* manager(w, slowToCommit(w.storage, 40_000))
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      const asking = yield* Effect.fork(token(a.getAccessToken))
      yield* settle
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(asking)).toBe("at-2")
      const peer = yield* Effect.fork(token(b.getAccessToken))
      for (let i = 0; i < 50; i++) yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(peer)).toBe("at-2")
      expect(w.server.posts).toEqual(["rt-1"])
    })
  )

  it.scoped("survives its callers, and those of its peer, being interrupted", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const a = yield* manager(w, faults((n) => n > 1 && n <= 5)(w.storage))
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      const asking = yield* Effect.fork(token(a.getAccessToken))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(asking)
      yield* settle
      const peer = yield* Effect.fork(token(b.getAccessToken))
      yield* TestClock.adjust(500)
      yield* Fiber.interrupt(peer)
      for (let i = 0; i < 40; i++) yield* TestClock.adjust(1000)
      expect(yield* token(b.getAccessToken)).toBe("at-2")
      expect(w.server.posts).toEqual(["rt-1"])
    })
  )

  it.scoped("lets a forced refresh fail while storage does, which sends nothing, and work afterwards", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const store = broken(w.storage, 2)
      const a = yield* manager(w, store.storage)
      yield* TestClock.adjust(minute)
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      expect(yield* Effect.flip(a.refresh)).toMatchObject({ _tag: "StorageError" })
      expect(w.server.posts).toEqual(["rt-1"])
      store.mend()
      expect(yield* token(a.refresh)).toBe("at-3")
      expect(w.server.posts).toEqual(["rt-1", "rt-2"])
      const b = yield* manager(w)
      expect(yield* token(b.refresh)).toBe("at-4")
    })
  )

  it.scoped("is kept from peers by a pool of accounts as well", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const storages = TokenStorages.TokenStorages.of({
        ...(yield* TokenStorages.makeMemory()),
        of: () => Either.right(faults((n) => n > 1 && n <= 8)(w.storage))
      })
      const context = yield* Layer.build(
        Layer.mergeAll(services(w, w.storage), Layer.succeed(TokenStorages.TokenStorages, storages))
      )
      const pool = yield* Effect.provide(TokenManagers.makeShared({}), context)
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      expect(yield* token(pool.getAccessToken("grant"))).toBe("at-2")
      const peer = yield* Effect.fork(token(b.getAccessToken))
      for (let i = 0; i < 40; i++) yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(peer)).toBe("at-2")
      expect(w.server.posts).toEqual(["rt-1"])
    })
  )

  it.scoped.each(["login", "clear"] as const)("frees the lease at once after a %s", (what) =>
    Effect.gen(function* () {
      const w = yield* world()
      const store = broken(w.storage, 2)
      const a = yield* manager(w, store.storage)
      yield* TestClock.adjust(minute)
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      expect(Either.isLeft(yield* Effect.scoped(Effect.either(w.lease.acquire("grant", 1000))))).toBe(true)
      store.mend()
      yield* what === "login" ? a.save(grant(9, minute, start + minute)) : a.clear
      yield* Effect.scoped(w.lease.acquire("grant", 1000))
    })
  )

  it.scoped("is reported, and saved under a new lease, where the lease lapsed meanwhile", () =>
    Effect.gen(function* () {
      const w = yield* world()
      let lapsed = false
      let taken = 0
      const lease: Lease = {
        acquire: (account, ttl) =>
          Effect.map(w.lease.acquire(account, ttl), (inner) => {
            const own = ++taken
            return {
              fence: inner.fence,
              isHeld: Effect.suspend(() => (lapsed && own === 1 ? Effect.succeed(false) : inner.isHeld))
            }
          })
      }
      const store = broken(w.storage, 2)
      const a = yield* manager(w, store.storage, lease)
      const events: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(a.events, (event) =>
          Effect.sync(() => events.push("reason" in event ? `${event._tag} ${event.reason}` : event._tag))
        )
      )
      yield* settle
      yield* TestClock.adjust(minute)
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      lapsed = true
      for (let i = 0; i < 10; i++) yield* TestClock.adjust(1000)
      expect(events).toContain("SaveFailed LeaseLapsed")
      expect(taken).toBe(2)
      expect((yield* a.status).warnings).toContain("Unsaved")
      store.mend()
      for (let i = 0; i < 6; i++) yield* TestClock.adjust(1000)
      expect(events.at(-1)).toBe("Saved")
      expect(Option.getOrThrow(yield* stored(w.storage)).refresh).toBe("rt-2")
      yield* Effect.scoped(w.lease.acquire("grant", 1000))
    })
  )
})

describe("a rotation that storage fences off, of managers without a common lease", () => {
  it.scoped("is saved under a new lease", () =>
    Effect.gen(function* () {
      const w = yield* world()
      const a = yield* manager(w, faults(2)(w.storage))
      yield* TestClock.adjust(minute)
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      const { entry, version } = Option.getOrThrow(yield* w.storage.load)
      yield* w.storage.commit(new Entry.Entry({ ...entry, fence: entry.fence + 500 }), Option.some(version))
      yield* TestClock.adjust(1000)
      expect(Option.getOrThrow(yield* stored(w.storage)).refresh).toBe("rt-2")
      expect((yield* a.status).warnings).toEqual([])
      expect(yield* token(a.refresh)).toBe("at-3")
    })
  )
})

describe("closing the scope while a rotation is unsaved", () => {
  const closing = (around: (storage: Storage) => Storage) =>
    Effect.gen(function* () {
      const w = yield* world()
      const scope = yield* Scope.make()
      const a = yield* Scope.extend(manager(w, around(w.storage)), scope)
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      expect(yield* token(a.getAccessToken)).toBe("at-2")
      const peer = yield* Effect.fork(Effect.either(token(b.getAccessToken)))
      yield* settle
      const closed = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* settle
      for (let i = 0; i < 60; i++) yield* TestClock.adjust(100)
      expect(Option.isSome(yield* Edition.poll(closed))).toBe(true)
      yield* TestClock.adjust(1000)
      return { w, answer: yield* Fiber.join(peer) }
    })

  it.scoped("tries a few times more, and holds the lease until then", () =>
    Effect.gen(function* () {
      const { answer, w } = yield* closing(faults((n) => n > 1 && n <= 5))
      expect(answer).toEqual(Either.right("at-2"))
      expect(w.server.posts).toEqual(["rt-1"])
    })
  )

  it.scoped("waits for a commit that is still under way", () =>
    Effect.gen(function* () {
      const slowly = (storage: Storage): Storage => {
        let commits = 0
        return {
          ...storage,
          commit: (entry, expected) =>
            Effect.delay(storage.commit(entry, expected), ++commits === 2 ? 5000 : 0)
        }
      }
      const w = yield* world()
      const scope = yield* Scope.make()
      const a = yield* Scope.extend(manager(w, slowly(w.storage)), scope)
      yield* TestClock.adjust(minute)
      const asking = yield* Effect.fork(token(a.getAccessToken))
      yield* settle
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(asking)).toBe("at-2")
      const closed = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* settle
      expect(Option.isNone(yield* Edition.poll(closed))).toBe(true)
      yield* TestClock.adjust(4000)
      yield* Fiber.join(closed)
      expect(Option.getOrThrow(yield* stored(w.storage)).refresh).toBe("rt-2")
      yield* Effect.scoped(w.lease.acquire("grant", 1000))
    })
  )

  it.scoped("gives up after a bounded time, and frees the lease", () =>
    Effect.gen(function* () {
      const { w } = yield* closing(faults((n) => n > 1))
      yield* Effect.scoped(w.lease.acquire("grant", 1000))
      // Nothing could save this one: the old token is all that storage has.
      expect(w.server.posts).toEqual(["rt-1", "rt-1"])
    })
  )
})

describe("what became of a refresh without a rotation", () => {
  it.scoped("the mark of a dead grant reaches storage before a peer gets the lease", () =>
    Effect.gen(function* () {
      const w = yield* world()
      w.server.revoke()
      const a = yield* manager(w, faults((n) => n > 1 && n <= 5)(w.storage))
      const b = yield* manager(w)
      yield* TestClock.adjust(minute)
      expect(yield* Effect.flip(a.getAccessToken)).toMatchObject({ reason: "GrantDead" })
      const peer = yield* Effect.fork(Effect.flip(b.getAccessToken))
      for (let i = 0; i < 40; i++) yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(peer)).toMatchObject({ reason: "GrantDead" })
      expect(w.server.posts).toEqual(["rt-1"])
    })
  )
})
