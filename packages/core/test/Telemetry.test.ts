/** What an operator sees: metrics by OpenTelemetry's names, one span for a refresh, structured logs, gauges. */
import { describe, expect, it } from "@effect/vitest"
import { Entry, RefreshLease, TokenManager, TokenMetrics } from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { Effect, Exit, Fiber, Layer, Scope, TestClock, Tracer } from "effect"
import {
  bench,
  grant,
  minute,
  overTime,
  peerWrites,
  rotate,
  settle,
  type Setup,
  start
} from "./support/Bench.js"
import * as Edition from "./support/Edition.js"

/** What the managers of a provider have measured so far, by name and tags. */
const measured = (provider: string) =>
  Effect.map(Edition.measured, (all) =>
    Object.fromEntries(
      all.flatMap(({ name, state, tags: { "latchkey.provider": of, unit, ...tags } }) =>
        of === provider
          ? [
              [
                [name, ...Object.values(tags).sort()].join(" "),
                typeof state === "number" ? state : { ...state, unit }
              ]
            ]
          : []
      )
    )
  )

const watched = (provider: string, setup: Setup = {}) =>
  bench({ initial: grant(1, 10 * minute), manager: { provider }, ...setup })

const seconds = (sum: number, count = 1) => ({ count, sum, unit: "s" })

describe("metrics", () => {
  it.scoped("tell a refresh: how long, by outcome, and what the token had been through", () =>
    Effect.gen(function* () {
      const { manager } = yield* watched("refreshed", { script: [rotate(1, { after: 1500 })] })
      yield* TestClock.adjust(9 * minute)
      yield* overTime(manager.getAccessToken, 1500)
      expect(yield* measured("refreshed")).toEqual({
        "latchkey.events Refreshing": 1,
        "latchkey.events Refreshed": 1,
        "latchkey.events Saved": 1,
        "latchkey.refresh.duration refreshed": seconds(1.5),
        "latchkey.refresh.token.age": seconds(541.5),
        "latchkey.refresh.token.time_to_expiry": seconds(58.5),
        "latchkey.lease.wait.duration": seconds(0)
      })
    })
  )

  it.scoped("are not touched by those who ask for a fresh token", () =>
    Effect.gen(function* () {
      const { manager } = yield* watched("fresh")
      for (let i = 0; i < 100; i++) yield* manager.getAccessToken
      expect(yield* measured("fresh")).toEqual({})
    })
  )

  it.scoped("tell a failure by its reason, and how long nothing is posted", () =>
    Effect.gen(function* () {
      const { manager } = yield* watched("failed", {
        script: [ScriptedRefresher.fail("Transient", { status: 503, retryAfter: "5 seconds" })]
      })
      yield* TestClock.adjust(10 * minute)
      yield* Effect.flip(manager.getAccessToken)
      expect(yield* measured("failed")).toMatchObject({
        "latchkey.refresh.duration Transient failed": seconds(0),
        "latchkey.events RefreshFailed": 1,
        "latchkey.cool_down.duration ServerAsked": seconds(5)
      })
    })
  )

  it.scoped("tell the wait for another's lease, and what it wrote as adopted", () =>
    Effect.gen(function* () {
      const lease = yield* RefreshLease.makeProcess
      const { manager, storage } = yield* watched("adopted", { lease })
      yield* TestClock.adjust(10 * minute)
      const peer = yield* Scope.make()
      yield* Scope.extend(lease.acquire(manager.location, minute), peer)
      const waiting = yield* Effect.fork(manager.getAccessToken)
      yield* settle
      yield* peerWrites(storage, (e) => Entry.refreshed(e, grant(2, 10 * minute, start + 10 * minute)))
      yield* TestClock.adjust(1000)
      yield* Fiber.join(waiting)
      const first = yield* measured("adopted")
      expect(first).toMatchObject({ "latchkey.events Adopted": 1 })
      expect(first).not.toHaveProperty("latchkey.lease.wait.duration")
      expect(Object.keys(first)).toContain("latchkey.refresh.duration adopted")
      yield* TestClock.adjust(10 * minute)
      const refreshing = yield* Effect.fork(manager.getAccessToken)
      yield* settle
      yield* Scope.close(peer, Exit.void)
      yield* TestClock.adjust(1000)
      yield* Fiber.join(refreshing)
      const second = yield* measured("adopted")
      // A holder that writes nothing is looked for again after half a second to a second.
      const { sum, ...rest } = second["latchkey.lease.wait.duration"] as ReturnType<typeof seconds>
      expect(rest).toEqual({ count: 1, unit: "s" })
      expect(sum).toBeGreaterThanOrEqual(0.5)
      expect(sum).toBeLessThanOrEqual(1)
    })
  )

  it.scoped("count a rotation as unsaved until storage has it, and no longer than its manager lives", () =>
    Effect.gen(function* () {
      const now = Effect.map(measured("unsaved"), (all) => all["latchkey.rotation.unsaved"])
      // The intent is written, the commits of the rotation fail.
      const failing = (last: number) => [
        { operation: "commit", call: (n: number) => n >= 2 && n <= last } as const
      ]
      const { manager } = yield* watched("unsaved", { faults: failing(4) })
      yield* TestClock.adjust(10 * minute)
      yield* manager.getAccessToken
      expect(yield* now).toBe(1)
      yield* TestClock.adjust(1 * minute)
      expect(yield* now).toBe(0)
      const scope = yield* Scope.make()
      const second = yield* Scope.extend(watched("unsaved", { faults: failing(1000) }), scope)
      yield* TestClock.adjust(10 * minute)
      yield* second.manager.getAccessToken
      expect(yield* now).toBe(1)
      yield* Scope.close(scope, Exit.void)
      expect(yield* now).toBe(0)
    })
  )

  it.scoped("of the token in use are looked at when asked for", () =>
    Effect.gen(function* () {
      const { manager } = yield* watched("sampled")
      const tag = TokenManager.TokenManager
      yield* Layer.build(
        Layer.provide(
          TokenMetrics.layerSampled(tag, { provider: "sampled", account: "one", every: "1 minute" }),
          Layer.succeed(tag, manager)
        )
      )
      yield* settle
      const gauges = (age: number, left: number) => ({
        "latchkey.token.age one": { value: age, unit: "s" },
        "latchkey.token.time_to_expiry one": { value: left, unit: "s" }
      })
      expect(yield* measured("sampled")).toEqual(gauges(0, 600))
      yield* TestClock.adjust("61 seconds")
      expect(yield* measured("sampled")).toEqual(gauges(60, 540))
    })
  )
})

it.scoped("a refresh is one span that says whose it was, what came of it and why it failed", () =>
  Effect.gen(function* () {
    const spans: Array<Tracer.Span> = []
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      span: (...args) => {
        const span = native.span(...args)
        spans.push(span)
        return span
      },
      context: native.context
    })
    yield* Effect.gen(function* () {
      const { manager } = yield* watched("traced", {
        manager: { provider: "traced", account: "ada" },
        script: [rotate(1), ScriptedRefresher.fail("Misconfigured")]
      })
      yield* manager.getAccessToken
      expect(spans).toHaveLength(0)
      yield* manager.refresh
      yield* Effect.flip(manager.refresh)
    }).pipe(Effect.withTracer(tracer))
    expect(spans.map(({ attributes, name }) => [name, Object.fromEntries(attributes)])).toEqual([
      [
        "latchkey.refresh",
        {
          "latchkey.provider": "traced",
          "latchkey.account": "ada",
          "latchkey.refresh.outcome": "refreshed",
          "latchkey.lease.wait": 0
        }
      ],
      [
        "latchkey.refresh",
        {
          "latchkey.provider": "traced",
          "latchkey.account": "ada",
          "latchkey.refresh.outcome": "failed",
          "error.type": "Misconfigured",
          "latchkey.lease.wait": 0
        }
      ]
    ])
  })
)

it.scoped("logs carry what happened as fields: danger as warnings, the rest for debugging", () =>
  Effect.gen(function* () {
    const lines: Array<readonly [string, string, Record<string, unknown>]> = []
    const logged = Edition.logging(({ annotations, level, message }) => {
      if (String(message).startsWith("latchkey: ")) lines.push([level, String(message), annotations])
    })
    yield* Effect.gen(function* () {
      const { manager } = yield* watched("logged", {
        manager: { provider: "logged", account: "ada" },
        script: [rotate(1), ScriptedRefresher.fail("GrantDead")]
      })
      yield* manager.refresh
      yield* Effect.flip(manager.refresh)
    }).pipe(logged)
    expect(lines.map(([level, message]) => `${level} ${message}`)).toEqual([
      "DEBUG latchkey: Refreshing",
      "DEBUG latchkey: Refreshed",
      "DEBUG latchkey: Saved",
      "DEBUG latchkey: Refreshing",
      "DEBUG latchkey: RefreshFailed",
      "WARN latchkey: GrantDead"
    ])
    expect(lines[1]?.[2]).toMatchObject({
      "latchkey.event": "Refreshed",
      "latchkey.provider": "logged",
      "latchkey.account": "ada",
      rotated: true,
      took: 0
    })
  })
)
