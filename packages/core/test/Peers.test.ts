/**
 * Failed refreshes of this process and of others: a peer's writes are never undone, and a possible loss is
 * never forgotten.
 */
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  Entry,
  RefreshLease,
  TokenConfig,
  TokenManager,
  type TokenRefresher,
  TokenStorage
} from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { Context, type Duration, Effect, Either, Fiber, Layer, Option, Stream, TestClock } from "effect"
import {
  type Bench,
  bench,
  grant,
  minute,
  peerWrites,
  rotate,
  settle,
  start,
  stored,
  token
} from "./support/Bench.js"

const reasons: ReadonlyArray<TokenRefresher.RefreshReason> = [
  "NotSent",
  "MaybeSent",
  "Transient",
  "GrantDead",
  "Misconfigured",
  "Malformed"
]

/** A refresh that takes a second and then fails; half-way, `peer` happens and is taken in. */
const failing = (reason: TokenRefresher.RefreshReason, peer: (entry: Entry.Entry) => Entry.Entry) =>
  Effect.gen(function* () {
    const { manager, storage } = yield* bench({
      initial: grant(1, 10 * minute),
      config: { credentialsTtl: 0 },
      script: [ScriptedRefresher.fail(reason, { after: 1000 })]
    })
    const refresh = yield* Effect.fork(Effect.either(token(manager.refresh)))
    yield* settle
    yield* TestClock.adjust(500)
    yield* peerWrites(storage, peer)
    yield* manager.credentials
    yield* TestClock.adjust(500)
    const answer = yield* Fiber.join(refresh)
    return {
      told: Either.isLeft(answer) ? answer.left : undefined,
      entry: Option.getOrThrow(yield* storage.load).entry,
      view: Option.getOrThrow(yield* stored(storage))
    }
  })

describe("when our own refresh fails", () => {
  it.scoped.each(reasons)("of %s, a peer's rotation that was taken in meanwhile stays", (reason) =>
    Effect.gen(function* () {
      const { view } = yield* failing(reason, (e) => Entry.refreshed(e, grant(2, 10 * minute, start + 500)))
      expect(view).toMatchObject({ access: "at-2", refresh: "rt-2", generation: 2, dead: false })
    })
  )

  it.scoped.each(reasons)(
    "of %s, the journal of a peer that is refreshing stays, and the grant is not taken for dead",
    (reason) =>
      Effect.gen(function* () {
        const { entry, told, view } = yield* failing(
          reason,
          (e) =>
            new Entry.Entry({
              ...e,
              intent: Option.map(e.intent, (i) => new Entry.Intent({ ...i, at: i.at + 500, attempt: 2 }))
            })
        )
        expect(entry.intent).toMatchObject(Option.some({ at: start + 500, attempt: 2 }))
        expect(view.dead).toBe(false)
        // The peer has sent the same token: what came of that is not known yet.
        expect(told).toMatchObject({
          _tag: "RefreshUnavailable",
          reason: reason === "GrantDead" ? "LeaseBusy" : reason
        })
      })
  )
})

describe("what became of an earlier refresh", () => {
  it.scoped.each(["NotSent", "Transient", "Misconfigured", "Malformed"] as const)(
    "is still unknown after a later one fails of %s",
    (reason) =>
      Effect.gen(function* () {
        const { manager } = yield* bench({
          initial: grant(1, 10 * minute),
          script: [
            ScriptedRefresher.fail("MaybeSent"),
            ScriptedRefresher.fail(reason),
            ScriptedRefresher.fail("GrantDead")
          ]
        })
        for (const last of ["MaybeSent", reason, "RotationLost"]) {
          expect((yield* Effect.flip(manager.refresh)).reason).toBe(last)
          yield* TestClock.adjust(minute)
        }
      })
  )

  it.scoped("is unknown after an answer that nobody can read", () =>
    Effect.gen(function* () {
      const { manager } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [ScriptedRefresher.fail("Malformed"), ScriptedRefresher.fail("GrantDead")]
      })
      for (const last of ["Malformed", "RotationLost"]) {
        expect((yield* Effect.flip(manager.refresh)).reason).toBe(last)
        yield* TestClock.adjust(minute)
      }
    })
  )

  it.scoped.each(["NotSent", "Transient", "Misconfigured"] as const)(
    "is known after one that failed of %s: nothing was lost by it",
    (reason) =>
      Effect.gen(function* () {
        const { manager, storage } = yield* bench({
          initial: grant(1, 10 * minute),
          script: [ScriptedRefresher.fail(reason), ScriptedRefresher.fail("GrantDead")]
        })
        expect((yield* Effect.flip(manager.refresh)).reason).toBe(reason)
        expect(Option.getOrThrow(yield* stored(storage)).intent).toBe(false)
        yield* TestClock.adjust(minute)
        expect((yield* Effect.flip(manager.refresh)).reason).toBe("GrantDead")
      })
  )
})

describe("when our own refresh succeeds late", () => {
  it.scoped("and the refresh token stays the same, a peer's newer access token stays", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        script: [ScriptedRefresher.answer({ accessToken: "at-101", expiresIn: 10 * minute, after: 1000 })]
      })
      const refresh = yield* Effect.fork(token(manager.refresh))
      yield* settle
      yield* peerWrites(storage, (e) =>
        Entry.refreshed(
          e,
          new Credentials.Credentials({ ...grant(2, 10 * minute), refreshToken: e.credentials.refreshToken })
        )
      )
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(refresh)).toBe("at-2")
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ access: "at-2", generation: 2 })
    })
  )
})

describe("a read that is slow", () => {
  it.scoped("is no rolled-back storage where a faster one has taken in a peer's rotation", () =>
    Effect.gen(function* () {
      const inner = yield* RefreshLease.makeProcess
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        lease: { acquire: (account, ttl) => Effect.delay(inner.acquire(account, ttl), 1000) },
        slowLoad: { call: 2, millis: 1500 }
      })
      yield* manager.getAccessToken
      const refresh = yield* Effect.fork(token(manager.refresh))
      yield* settle
      yield* manager.invalidate
      const slow = yield* Effect.fork(token(manager.refresh))
      yield* settle
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute)))
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(refresh)).toBe("at-2")
      yield* TestClock.adjust(1500)
      expect(yield* Fiber.join(slow)).toBe("at-101")
    })
  )
})

describe("while storage is slow to answer", () => {
  it.scoped("what its user removed meanwhile does not come back with our own note", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        slowCommit: { call: 1, millis: 1000, when: "after" }
      })
      const refresh = yield* Effect.fork(Effect.flip(manager.refresh))
      yield* settle
      expect(yield* manager.clear).toBe(true)
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(refresh)).toMatchObject({
        _tag: "ReauthorizationRequired",
        reason: "NoCredentials"
      })
      expect(yield* calls.count).toBe(0)
      expect(yield* manager.credentials).toEqual(Option.none())
      expect(yield* stored(storage)).toEqual(Option.none())
    })
  )

  it.scoped(
    "what a peer wrote meanwhile is not forgotten for our own note, and who has its token gets another",
    () =>
      Effect.gen(function* () {
        const { calls, manager, storage } = yield* bench({
          initial: grant(1, 0),
          slowCommit: { call: 1, millis: 1000, when: "after" }
        })
        const asked = yield* Effect.fork(token(manager.getAccessToken))
        yield* settle
        yield* peerWrites(storage, (e) => Entry.saved(Option.some(e), grant(2, 10 * minute)))
        yield* manager.invalidate
        expect(yield* token(manager.getAccessToken)).toBe("at-2")
        const forced = yield* Effect.fork(token(manager.refresh))
        yield* settle
        yield* TestClock.adjust(1000)
        expect(yield* Fiber.join(asked)).toMatch(/^at-(2|101)$/)
        expect(yield* Fiber.join(forced)).toBe("at-101")
        expect(yield* calls.count).toBe(1)
        expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-101" })
      })
  )

  it.scoped("a token that was rejected before its own save had ended is not served again", () =>
    Effect.gen(function* () {
      const inner = yield* RefreshLease.makeProcess
      const { manager } = yield* bench({
        lease: { acquire: (account, ttl) => Effect.delay(inner.acquire(account, ttl), 2000) },
        slowCommit: { call: 1, millis: 1000, when: "after" }
      })
      const save = yield* Effect.fork(manager.save(grant(1, 10 * minute)))
      yield* settle
      const first = yield* manager.getAccessToken
      const rejected = yield* Effect.fork(token(manager.reject(first)))
      yield* settle
      yield* TestClock.adjust(1000)
      yield* Fiber.join(save)
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(rejected)).toBe("at-101")
    })
  )

  it.scoped("a grant is not told to be dead whose rotation a peer saves before our mark", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 0),
        script: [ScriptedRefresher.fail("GrantDead")],
        slowCommit: { call: 2, millis: 1000 }
      })
      const asked = yield* Effect.fork(token(manager.getAccessToken))
      yield* settle
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute)))
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(asked)).toBe("at-2")
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-2", dead: false })
    })
  )

  it.scoped("a save that a refresh overtakes is read again, and no grant is said to be missing", () =>
    Effect.gen(function* () {
      const inner = yield* RefreshLease.makeProcess
      const slowToEnd = Effect.addFinalizer(() => Effect.sleep(1000))
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        lease: { acquire: (account, ttl) => Effect.tap(inner.acquire(account, ttl), () => slowToEnd) },
        script: [rotate(1, { after: 500 })],
        slowCommit: { call: 2, millis: 1000, when: "after" }
      })
      const refresh = yield* Effect.fork(token(manager.refresh))
      yield* settle
      const save = yield* Effect.fork(manager.save(grant(2, 10 * minute)))
      yield* settle
      yield* TestClock.adjust(500)
      // It has found the grant of the save, and gives its lease back while that ends.
      yield* TestClock.adjust(500)
      yield* Fiber.join(save)
      yield* TestClock.adjust(500)
      expect(yield* Fiber.join(refresh)).toBe("at-2")
      expect(Option.getOrThrow(yield* stored(storage))).toMatchObject({ refresh: "rt-2" })
    })
  )
})

describe("a wait that the server asked for", () => {
  /** Another process on the same storage: its manager, and what it posts. */
  const another = (storage: Context.Tag.Service<TokenStorage.TokenStorage>) =>
    Effect.gen(function* () {
      const services = yield* Layer.build(
        Layer.mergeAll(
          Layer.succeed(TokenStorage.TokenStorage, storage),
          RefreshLease.layerProcess,
          TokenConfig.layer({ instance: "other", credentialsTtl: 0 }),
          ScriptedRefresher.layer([rotate(2)])
        )
      )
      const manager = yield* Effect.provide(TokenManager.make(), services)
      return { manager, posted: Context.get(services, ScriptedRefresher.RefreshCalls).count }
    })

  const told = (retryAfter: Duration.DurationInput | undefined, needsRefreshToken = true) =>
    Effect.gen(function* () {
      const failure = ScriptedRefresher.fail("Transient", {
        status: 429,
        ...(retryAfter !== undefined && { retryAfter })
      })
      const { manager, storage } = yield* bench({
        initial: grant(1, -minute),
        script: [failure],
        needsRefreshToken
      })
      yield* Effect.flip(manager.getAccessToken)
      return { manager, storage, other: yield* another(storage) }
    })

  /** What is stored after a refresh of a second that must wait a minute, while something else happens. */
  const toldWhile = <A, E>(happens: (bench: Bench) => Effect.Effect<A, E>) =>
    Effect.gen(function* () {
      const all = yield* bench({
        initial: grant(1, -minute),
        script: [ScriptedRefresher.fail("Transient", { retryAfter: "1 minute", after: 1000 })]
      })
      const refresh = yield* Effect.fork(Effect.flip(all.manager.getAccessToken))
      yield* settle
      yield* happens(all)
      yield* TestClock.adjust(1000)
      yield* Fiber.join(refresh)
      return Option.getOrThrow(yield* all.storage.load).entry
    })

  it.scoped.each([true, false])("is kept to by every process, until it is over (%s)", (needsRefreshToken) =>
    Effect.gen(function* () {
      const { other, storage } = yield* told("90 seconds", needsRefreshToken)
      const entry = Option.getOrThrow(yield* storage.load).entry
      expect(entry.serverWait).toEqual(
        Option.some(new Entry.ServerWait({ at: start, until: start + 90_000 }))
      )
      expect(entry.intent).toEqual(Option.none())
      yield* TestClock.adjust("30 seconds")
      for (const ask of [other.manager.getAccessToken, other.manager.refresh]) {
        expect(yield* Effect.flip(ask)).toMatchObject({
          _tag: "RefreshUnavailable",
          reason: "CoolingDown",
          retryAt: start + 90_000,
          message: "The server asked to wait; nothing is sent before the retry time."
        })
      }
      expect(yield* other.manager.status).toMatchObject({ warnings: ["CoolingDown"] })
      expect(yield* other.posted).toBe(0)
      yield* TestClock.adjust("1 minute")
      expect(yield* token(other.manager.getAccessToken)).toBe("at-102")
      expect(Option.getOrThrow(yield* storage.load).entry.serverWait).toEqual(Option.none())
    })
  )

  it.scoped("is kept where memory is dropped while the server answers", () =>
    Effect.gen(function* () {
      const entry = yield* toldWhile(({ manager }) => manager.invalidate)
      expect(entry.serverWait).toMatchObject(Option.some({ until: start + 1000 + minute }))
      expect(entry.intent).toEqual(Option.none())
    })
  )

  it.scoped("ends with a login", () =>
    Effect.gen(function* () {
      const { manager, other, storage } = yield* told("90 seconds")
      yield* manager.save(grant(5, -minute))
      expect(Option.getOrThrow(yield* storage.load).entry.serverWait).toEqual(Option.none())
      expect(yield* token(other.manager.getAccessToken)).toBe("at-102")
    })
  )

  it.scoped("where it named none, another process backs off as well, for as long as the first", () =>
    Effect.gen(function* () {
      const { other } = yield* told(undefined)
      expect(yield* Effect.flip(other.manager.getAccessToken)).toMatchObject({ reason: "CoolingDown" })
      expect(yield* other.posted).toBe(0)
      yield* TestClock.adjust("1 second")
      expect(yield* token(other.manager.getAccessToken)).toBe("at-102")
    })
  )

  it.scoped("is not written over a peer that refreshes by now", () =>
    Effect.gen(function* () {
      const theirs = (e: Entry.Entry) =>
        new Entry.Entry({ ...e, intent: Option.map(e.intent, (i) => new Entry.Intent({ ...i, attempt: 2 })) })
      const entry = yield* toldWhile(({ storage }) => peerWrites(storage, theirs))
      expect(entry.intent).toMatchObject(Option.some({ attempt: 2 }))
      expect(entry.serverWait).toEqual(Option.none())
    })
  )
})

describe("changes of storage that are not told for a while", () => {
  const failure = new TokenStorage.StorageError({
    reason: "Unavailable",
    operation: "changes",
    location: "memory",
    message: "The subscription broke off."
  })

  it.scoped("are looked for afterwards, and listened to again", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const memory = yield* TokenStorage.makeMemory(Option.some(Entry.first(grant(1, 100 * minute))))
      let listened = 0
      const changes = Option.map(memory.changes, (told) =>
        Stream.suspend(() => (++listened === 1 ? Stream.fail(failure) : told))
      )
      const services = Layer.mergeAll(
        Layer.succeed(TokenStorage.TokenStorage, { ...memory, changes }),
        RefreshLease.layerProcess,
        TokenConfig.layer({ credentialsTtl: "1 day" }),
        ScriptedRefresher.layer([])
      )
      const manager = yield* Effect.provide(TokenManager.make(), yield* Layer.build(services))
      yield* settle
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect((yield* manager.explain).history).toMatchObject([
        { _tag: "StorageFailed", reason: "Unavailable" }
      ])
      yield* peerWrites(memory, (e) => Entry.refreshed(e, grant(2, 100 * minute)))
      yield* settle
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust("30 seconds")
      yield* settle
      expect(listened).toBe(2)
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
      yield* peerWrites(memory, (e) => Entry.refreshed(e, grant(3, 100 * minute)))
      yield* settle
      expect(yield* token(manager.getAccessToken)).toBe("at-3")
    })
  )
})
