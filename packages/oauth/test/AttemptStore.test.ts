/** Where web logins are kept: sealed in a cookie, or in a store that all instances share. */
import { describe, expect, it } from "@effect/vitest"
import { OneTimeStore } from "@latchkey/core"
import { AttemptStore, LoginAttempt, LoginKeys, ReloginLink } from "@latchkey/oauth"
import { Context, Effect, Either, Encoding, Layer, Option, Redacted, TestClock } from "effect"
import { inspect } from "node:util"

const start = 1_700_000_000_000
const minutes = (n: number) => n * 60_000

const key = (byte: number) => Redacted.make(Encoding.encodeBase64(new Uint8Array(32).fill(byte)))

let serial = 0
const attempt = (over: Partial<LoginAttempt.LoginAttempt> = {}) =>
  new LoginAttempt.LoginAttempt({
    issuer: Option.some("https://id.example.com"),
    tokenEndpoint: Option.none(),
    clientId: "app",
    state: Redacted.make(`canary-${++serial}`.padEnd(43, "s")),
    nonce: Option.none(),
    verifier: Redacted.make("canary-verifier".padEnd(43, "v")),
    dpopKey: Option.none(),
    redirectUri: "https://app.example.com/callback",
    scopes: [],
    resources: [],
    maxAge: Option.none(),
    returnTo: Option.none(),
    account: Option.none(),
    expectedAccount: Option.none(),
    replaces: Option.none(),
    session: Option.none(),
    createdAt: start,
    expiresAt: start + minutes(10),
    ...over
  })

const sealed = (...keys: ReadonlyArray<number>) =>
  Effect.map(
    Layer.build(
      Layer.provide(AttemptStore.layerSealed, LoginKeys.layer([key(keys[0]!), ...keys.slice(1).map(key)]))
    ),
    (context) => Context.get(context, AttemptStore.AttemptStore)
  )

const stored = (store: Context.Tag.Service<OneTimeStore.OneTimeStore>) =>
  Effect.map(
    Layer.build(Layer.provide(AttemptStore.layerStored, Layer.succeed(OneTimeStore.OneTimeStore, store))),
    (context) => Context.get(context, AttemptStore.AttemptStore)
  )

/** Two instances of an application. */
const kinds = [
  ["sealed", Effect.all([sealed(1), sealed(1)])],
  ["stored", Effect.flatMap(OneTimeStore.makeMemory, (store) => Effect.all([stored(store), stored(store)]))]
] as const

const atStart = TestClock.setTime(start)

describe.each(kinds)("a login that is %s", (_, instances) => {
  it.scoped("is begun by one instance and finished by another", () =>
    Effect.gen(function* () {
      yield* atStart
      const [a, b] = yield* instances
      const login = attempt({ returnTo: Option.some("/inbox") })
      const found = yield* b.take(yield* a.keep(login))
      expect(Redacted.value(LoginAttempt.toJson(found))).toBe(Redacted.value(LoginAttempt.toJson(login)))
    })
  )

  it.scoped("is taken once from an instance", () =>
    Effect.gen(function* () {
      yield* atStart
      const [a] = yield* instances
      const ticket = yield* a.keep(attempt())
      const other = yield* a.keep(attempt())
      yield* a.take(ticket)
      expect(yield* Effect.flip(a.take(ticket))).toMatchObject({
        _tag: "LoginError",
        reason: "StateMismatch"
      })
      yield* a.take(other)
    })
  )

  it.scoped("expires", () =>
    Effect.gen(function* () {
      yield* atStart
      const [a, b] = yield* instances
      const ticket = yield* a.keep(attempt())
      const last = yield* a.keep(attempt())
      yield* TestClock.adjust(minutes(10) - 1)
      yield* b.take(last)
      yield* TestClock.adjust(1)
      expect((yield* Effect.flip(b.take(ticket)))._tag).toBe("LoginError")
    })
  )

  it.scoped("does not open once its ticket was changed, and shows no secret", () =>
    Effect.gen(function* () {
      yield* atStart
      const [a] = yield* instances
      const ticket = Redacted.value(yield* a.keep(attempt()))
      expect(ticket).not.toContain("canary")
      expect(ticket).toMatch(/^[\w.-]{1,3800}$/)
      const changed = Array.from(
        ticket,
        (c, at) => `${ticket.slice(0, at)}${c === "A" ? "B" : "A"}${ticket.slice(at + 1)}`
      )
      for (const other of [...changed, "", ".", "1.2.3.4", `${ticket}A`, `${ticket}=`, ticket.slice(1)]) {
        const error = yield* Effect.flip(a.take(Redacted.make(other)))
        expect(error).toMatchObject({ _tag: "LoginError", reason: "StateMismatch" })
        expect(inspect(error, { depth: 9 })).not.toContain("canary")
      }
      yield* a.take(Redacted.make(ticket))
    })
  )
})

describe("a sealed login", () => {
  it.scoped("opens while its key is among the keys", () =>
    Effect.gen(function* () {
      yield* atStart
      const before = yield* (yield* sealed(1)).keep(attempt())
      const rotated = yield* sealed(2, 1)
      yield* rotated.take(before)
      const after = yield* rotated.keep(attempt())
      expect((yield* Effect.flip((yield* sealed(1)).take(after)))._tag).toBe("LoginError")
      yield* (yield* sealed(2)).take(after)
    })
  )

  it.scoped("can be finished again at another instance: there, only the server refuses the code", () =>
    Effect.gen(function* () {
      yield* atStart
      const [a, b] = yield* Effect.all([sealed(1), sealed(1)])
      const ticket = yield* a.keep(attempt())
      yield* a.take(ticket)
      yield* b.take(ticket)
    })
  )

  it.scoped("fits into a cookie, or is refused", () =>
    Effect.gen(function* () {
      yield* atStart
      const store = yield* sealed(1)
      yield* store.keep(attempt({ returnTo: Option.some(`/${"a".repeat(999)}`) }))
      const long = attempt({ scopes: ["x".repeat(4000)] })
      expect(yield* Effect.flip(store.keep(long))).toMatchObject({ reason: "Misconfigured" })
    })
  )

  it.scoped("is not a link, and a link is not a login", () =>
    Effect.gen(function* () {
      yield* atStart
      const keys = yield* LoginKeys.make([key(1)])
      const link = new ReloginLink.ReloginLink({
        account: "alice",
        expectedAccount: "sub-1",
        replaces: "0123456789ab",
        loginHint: "alice@example.com",
        returnTo: Option.some("/inbox"),
        expiresAt: start + minutes(1)
      })
      const provide = Effect.provideService(LoginKeys.LoginKeys, keys)
      const text = yield* provide(ReloginLink.seal(link))
      expect(yield* provide(ReloginLink.open(text))).toEqual(link)
      const store = yield* sealed(1)
      expect((yield* Effect.flip(store.take(Redacted.make(text))))._tag).toBe("LoginError")
      const ticket = Redacted.value(yield* store.keep(attempt()))
      for (const other of [ticket, "", text.slice(0, -1), `x${text}`]) {
        expect(yield* Effect.flip(provide(ReloginLink.open(other)))).toMatchObject({ reason: "Malformed" })
      }
      yield* TestClock.adjust(minutes(1))
      expect(yield* Effect.flip(provide(ReloginLink.open(text)))).toMatchObject({ reason: "TimedOut" })
    })
  )
})

describe("a stored login", () => {
  it.scoped("cannot be read by the store", () =>
    Effect.gen(function* () {
      yield* atStart
      const kept: Array<ReadonlyArray<string>> = []
      const inner = yield* OneTimeStore.makeMemory
      const store = yield* stored({
        put: (key, value, timeToLive) =>
          Effect.andThen(
            Effect.sync(() => kept.push([key, value])),
            inner.put(key, value, timeToLive)
          ),
        take: (key) => inner.take(key)
      })
      const ticket = Redacted.value(yield* store.keep(attempt()))
      for (const text of kept.flat()) {
        expect(text).not.toContain("canary")
        expect(text).not.toContain(ticket)
        // The place in the store is no ticket.
        expect((yield* Effect.flip(store.take(Redacted.make(text))))._tag).toBe("LoginError")
      }
      yield* store.take(Redacted.make(ticket))
    })
  )

  it.scoped("is taken by one of many", () =>
    Effect.gen(function* () {
      yield* atStart
      const store = yield* stored(yield* OneTimeStore.makeMemory)
      const ticket = yield* store.keep(attempt())
      const all = yield* Effect.all(
        Array.from({ length: 20 }, () => Effect.either(store.take(ticket))),
        { concurrency: "unbounded" }
      )
      expect(all.filter(Either.isRight)).toHaveLength(1)
    })
  )
})

describe("the keys", () => {
  it.effect.each<readonly [ReadonlyArray<string>, string]>([
    [[""], "keys[0] is 0 bytes"],
    [["canary!"], "keys[0] is not base64"],
    [[Redacted.value(key(1)), "Y2FuYXJ5"], "keys[1] is 6 bytes"]
  ])("%j are refused by their place", ([keys, problem]) =>
    Effect.gen(function* () {
      const [first, ...others] = keys.map((text) => Redacted.make<string>(text))
      const error = yield* Effect.flip(LoginKeys.make([first!, ...others]))
      expect(error._tag).toBe("OAuthConfigError")
      expect(error.message).toContain(problem)
      expect(error.message).not.toContain("canary")
    })
  )
})

describe("values that can be taken once, in memory", () => {
  it.effect("are there until their time is over or they are taken, each under its own key", () =>
    Effect.gen(function* () {
      const store = yield* OneTimeStore.makeMemory
      yield* store.put("a", "1", "1 minute")
      yield* store.put("b", "2", "2 minutes")
      expect((yield* Effect.flip(store.put("a", "3", "1 minute"))).reason).toBe("Malformed")
      expect((yield* Effect.flip(store.put("c", "3", 0))).reason).toBe("Malformed")
      yield* TestClock.adjust("1 minute")
      expect(yield* store.take("a")).toEqual(Option.none())
      expect(yield* store.take("b")).toEqual(Option.some("2"))
      expect(yield* store.take("b")).toEqual(Option.none())
    })
  )
})
