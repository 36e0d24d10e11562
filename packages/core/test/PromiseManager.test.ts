/** Tokens as promises: without a fiber while fresh, with the manager's own errors, and with signals. */
import { inspect } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import {
  PromiseManager,
  RefreshLease,
  TokenConfig,
  TokenError,
  TokenManager,
  TokenRefresher,
  TokenStorage
} from "@latchkey/core"
import { ManualClock, ScriptedRefresher } from "@latchkey/core/testing"
import { Config, Data, Effect, Layer, ManagedRuntime, Option, TestClock } from "effect"
import { bench, grant, minute, rotate, settle, start, stored, type Setup } from "./support/Bench.js"
import * as Edition from "./support/Edition.js"

const opened = (setup: Setup = {}) =>
  Effect.gen(function* () {
    const made = yield* bench({ initial: grant(1, 10 * minute), ...setup })
    return { ...made, tokens: yield* PromiseManager.make(made.manager) }
  })

/** What a promise rejects with. */
const rejection = (promise: Promise<unknown>): Effect.Effect<unknown> =>
  Effect.promise(() =>
    promise.then(
      (value) => expect.unreachable(`it resolved with ${String(value)}`),
      (error: unknown) => error
    )
  )

describe("a promise manager", () => {
  it.scoped("answers a fresh token from one resolved promise, and in the same turn where it is peeked", () =>
    Effect.gen(function* () {
      const { calls, tokens } = yield* opened()
      expect(tokens.peekAccessToken()).toBeUndefined()
      expect(yield* Effect.promise(() => tokens.getAccessToken())).toBe("at-1")
      expect(tokens.peekAccessToken()).toBe("at-1")
      expect(tokens.getAccessToken()).toBe(tokens.getAccessToken())
      // Nothing is pending behind it: it wins against a promise that is resolved when it is asked.
      expect(
        yield* Effect.promise(() => Promise.race([tokens.getAccessToken(), Promise.resolve("later")]))
      ).toBe("at-1")
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped("gives all who wait for one refresh the same promise, but those who come after a change", () =>
    Effect.gen(function* () {
      const { calls, tokens } = yield* opened({ script: [rotate(1, { after: 1000 }), rotate(2)] })
      yield* TestClock.adjust(10 * minute)
      const waiting = tokens.getAccessToken()
      expect(tokens.getAccessToken()).toBe(waiting)
      yield* settle
      expect(tokens.getAccessToken()).toBe(waiting)
      // One with a signal may leave without the others.
      const leaving = new AbortController()
      const alone = tokens.getAccessToken({ signal: leaving.signal })
      expect(alone).not.toBe(waiting)
      leaving.abort(new Error("enough"))
      expect(yield* rejection(alone)).toEqual(new Error("enough"))
      const stays = tokens.reject("at-0")
      expect(tokens.getAccessToken()).not.toBe(waiting)
      yield* settle
      yield* TestClock.adjust(1000)
      expect(yield* Effect.promise(() => Promise.all([waiting, stays]))).toEqual(["at-101", "at-101"])
      expect(yield* calls.count).toBe(1)
      expect(tokens.getAccessToken()).not.toBe(waiting)
    })
  )

  it.scoped("rejects for all who wait, and asks anew for who comes after", () =>
    Effect.gen(function* () {
      const failing = ScriptedRefresher.fail("Transient")
      const { tokens } = yield* opened({ script: [failing] })
      yield* TestClock.adjust(10 * minute)
      const [one, other] = [tokens.getAccessToken(), tokens.getAccessToken()]
      expect(yield* rejection(one)).toMatchObject({ _tag: "RefreshUnavailable", reason: "Transient" })
      expect(yield* rejection(other)).toMatchObject({ _tag: "RefreshUnavailable", reason: "Transient" })
      expect(yield* rejection(tokens.getAccessToken())).toMatchObject({ reason: "CoolingDown" })
    })
  )

  it.scoped("never answers from the promise of a token that is due, replaced or gone", () =>
    Effect.gen(function* () {
      const { tokens, manager } = yield* opened()
      yield* Effect.promise(() => tokens.getAccessToken())
      yield* TestClock.adjust(10 * minute)
      expect(yield* Effect.promise(() => tokens.getAccessToken())).toBe("at-101")
      expect(yield* Effect.promise(() => tokens.reject("at-101"))).toBe("at-102")
      expect(yield* Effect.promise(() => tokens.getAccessToken())).toBe("at-102")
      yield* manager.save(grant(7, 10 * minute, start + 10 * minute))
      expect(yield* Effect.promise(() => tokens.getAccessToken())).toBe("at-7")
      expect(yield* Effect.promise(() => tokens.clear())).toBe(true)
      expect(yield* rejection(tokens.getAccessToken())).toBeInstanceOf(TokenError.ReauthorizationRequired)
    })
  )

  it.scoped("refreshes for a longer life, by force, and not for a rejected token of before", () =>
    Effect.gen(function* () {
      const { calls, tokens } = yield* opened({
        initial: grant(1, 60 * minute),
        script: (n) => rotate(n, { expiresIn: 60 * minute })
      })
      yield* TestClock.adjust(40 * minute)
      expect(yield* Effect.promise(() => tokens.getAccessToken({ minValidity: "30 minutes" }))).toBe("at-101")
      expect(yield* Effect.promise(() => tokens.refresh())).toBe("at-102")
      expect(yield* Effect.promise(() => tokens.reject("at-1"))).toBe("at-102")
      expect(yield* calls.count).toBe(2)
    })
  )

  it.scoped("rejects with the error itself, which shows no secret", () =>
    Effect.gen(function* () {
      const { tokens } = yield* opened({ script: [ScriptedRefresher.fail("Transient", { status: 503 })] })
      yield* TestClock.adjust(10 * minute)
      const error = yield* rejection(tokens.getAccessToken())
      expect(error).toBeInstanceOf(Error)
      expect(error).toBeInstanceOf(TokenError.RefreshUnavailable)
      expect(error).toMatchObject({ _tag: "RefreshUnavailable", reason: "Transient" })
      expect(
        `${inspect(error, { depth: 20 })}${inspect(tokens, { depth: 20, showHidden: true })}`
      ).not.toContain("rt-1")
    })
  )

  it.scoped("gives up waiting by signal, and leaves the refresh to those who come after", () =>
    Effect.gen(function* () {
      const { calls, tokens, storage } = yield* opened({ script: [rotate(1, { after: 1000 })] })
      yield* TestClock.adjust(10 * minute)
      const controller = new AbortController()
      const asked = rejection(tokens.getAccessToken({ signal: controller.signal }))
      yield* settle
      controller.abort(new Error("the user left"))
      expect(yield* asked).toMatchObject({ message: "the user left" })
      yield* TestClock.adjust(1000)
      expect(Option.getOrThrow(yield* stored(storage)).refresh).toBe("rt-101")
      expect(
        yield* Effect.promise(() => tokens.getAccessToken({ signal: new AbortController().signal }))
      ).toBe("at-101")
      expect(yield* calls.count).toBe(1)
    })
  )

  it.scoped("does not even answer a fresh token to a signal that has fired", () =>
    Effect.gen(function* () {
      const { tokens } = yield* opened()
      yield* Effect.promise(() => tokens.getAccessToken())
      expect(yield* rejection(tokens.getAccessToken({ signal: AbortSignal.abort() }))).toMatchObject({
        name: "AbortError"
      })
    })
  )
})

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => expect.unreachable(`it resolved with ${String(value)}`),
    (error: unknown) => error
  )

class Second extends TokenManager.Tag("test/Second")<Second>() {}

const services = Layer.mergeAll(
  TokenStorage.layerMemory,
  RefreshLease.layerProcess,
  TokenConfig.layer(),
  ScriptedRefresher.layer((n) => rotate(n)),
  ManualClock.layer(start)
)

describe("outside Effect", () => {
  it("a layer is opened, used and closed, and then says that it is closed", async () => {
    const tokens = await PromiseManager.open(Layer.provideMerge(TokenManager.layer(), services))
    await tokens.save(grant(1, 10 * minute))
    expect(await tokens.getAccessToken()).toBe("at-1")
    expect(await tokens.status()).toMatchObject({ authenticated: true })
    await tokens.close()
    await expect(tokens.refresh()).rejects.toMatchObject({ _tag: "RefreshUnavailable", reason: "Closed" })
  })

  it("a layer with a setting that cannot work rejects with an Error that names it (F46)", async () => {
    const broken = TokenManager.layer().pipe(
      Layer.provide(Layer.merge(services, TokenConfig.layer({ refreshGrace: -1 })))
    )
    const error = await failureOf(PromiseManager.open(broken))
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: "ConfigError",
      message: expect.stringContaining("refreshGrace")
    })
    expect(Edition.invalidSetting((error as Error).cause ?? error)).toMatchObject({ path: ["refreshGrace"] })
    expect(String(error)).toMatch(/^ConfigError: /)
  })

  class OwnFailure extends Data.TaggedError("OwnFailure")<{ readonly reason: string }> {}
  const plain = { _tag: "Plain", message: "no such server" }
  const failures: ReadonlyArray<
    readonly [what: string, failing: Effect.Effect<never, unknown>, expected: object]
  > = [
    [
      "an Error of its own",
      Effect.fail(new OwnFailure({ reason: "x" })),
      { name: "OwnFailure", reason: "x" }
    ],
    [
      "a missing variable",
      Effect.andThen(Config.string("ABSENT"), Effect.never),
      { name: "ConfigError", message: /ABSENT/ }
    ],
    ["a tagged object", Effect.fail(plain), { name: "Plain", message: "no such server", cause: plain }],
    ["a text", Effect.fail("no such server"), { name: "Error", message: "no such server" }],
    [
      "an object with a secret",
      Effect.fail({ token: "canary" }),
      { message: /^(?!.*canary).*see the cause/ }
    ],
    ["nothing", Effect.fail(undefined), { message: /see the cause/ }],
    ["null", Effect.fail(null), { message: /see the cause/, cause: null }],
    ["a defect", Effect.die(new TypeError("broken")), { name: "TypeError", message: "broken" }],
    ["a defect that is no Error", Effect.die("broken"), { name: "Error", message: "broken" }],
    ["an interruption", Effect.interrupt, { message: /interrupted/ }],
    [
      "a defect while it closes",
      Effect.fail(plain).pipe(Effect.ensuring(Effect.die("late"))),
      { name: "Plain" }
    ]
  ]
  const matching = (expected: object) =>
    Object.fromEntries(
      Object.entries(expected).map(([key, value]) => [
        key,
        value instanceof RegExp ? expect.stringMatching(value) : value
      ])
    )

  it.each(failures)("a layer that fails with %s rejects with an Error", async (_, failing, expected) => {
    const broken = Layer.effect(TokenManager.TokenManager, failing)
    for (const opening of [
      () => PromiseManager.open(broken),
      () => PromiseManager.fromRuntime(ManagedRuntime.make(broken))
    ]) {
      const error = await failureOf(opening())
      expect(error).toBeInstanceOf(Error)
      expect(error).toMatchObject(matching(expected))
    }
  })

  it.each(failures)("a refresh that ends with %s rejects with an Error", async (_, failing) => {
    const refresher = Layer.succeed(
      TokenRefresher.TokenRefresher,
      TokenRefresher.makeIndependent(() => Effect.orDie(failing))
    )
    const tokens = await PromiseManager.open(
      Layer.provide(TokenManager.layer(), Layer.merge(services, refresher))
    )
    for (const asking of [
      () => tokens.getAccessToken(),
      () => tokens.refresh(),
      () => tokens.getAccessToken({ minValidity: "5 minutes" }),
      () => tokens.refresh({ signal: new AbortController().signal })
    ]) {
      expect(await failureOf(asking())).toBeInstanceOf(Error)
    }
    await tokens.close()
    expect(await failureOf(tokens.getAccessToken())).toBeInstanceOf(Error)
  })

  it("one of several managers of a runtime is told by its tag", async () => {
    const both = Layer.merge(TokenManager.layer(), TokenManager.layerFor(Second))
    const runtime = ManagedRuntime.make(Layer.provideMerge(both, services))
    const [first, second] = [
      await PromiseManager.fromRuntime(runtime),
      await PromiseManager.fromRuntime(runtime, Second)
    ]
    await first.save(grant(1, 10 * minute))
    expect(await second.getAccessToken()).toBe("at-1")
    // @ts-expect-error a manager that the runtime does not hold
    void (() => PromiseManager.fromRuntime(ManagedRuntime.make(Layer.empty), Second))
    await runtime.dispose()
  })
})
