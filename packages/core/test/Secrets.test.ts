import { inspect } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Effect,
  Exit,
  Fiber,
  HashMap,
  List,
  Logger,
  LogLevel,
  Metric,
  Option,
  Redacted,
  Stream,
  TestClock,
  Tracer
} from "effect"
import type { TokenManager } from "@latchkey/core"
import { Credentials, Entry, RefreshLease, type TokenStorage } from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { bench, minute, peerWrites, settle, type Setup, start } from "./support/Bench.js"

/** A hundred secrets, each like no other text. */
const canaries = Array.from({ length: 100 }, (_, i) => `canary${String(i).padStart(3, "0")}x7Q`)
let next = 0
const canary = (): string => canaries[next++ % canaries.length]!

const secretGrant = (expiresIn: number, now = start) =>
  Credentials.make({
    accessToken: canary(),
    refreshToken: canary(),
    idToken: canary(),
    obtainedAt: now,
    expiresAt: now + expiresIn,
    accountId: "acct-1",
    extras: { device_secret: canary(), nested: { api_key: canary() } }
  })

const secretAnswer: ScriptedRefresher.Step = {
  answer: ({ now }) => secretGrant(10 * minute, now)
}

/** Everything that an onlooker can print of a value. */
const shown = (value: unknown): string => {
  const parts = [
    inspect(value, { depth: 20, showHidden: true }),
    inspect(value, { depth: 20, customInspect: false, getters: true }),
    String(value),
    JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}` : v)) ?? ""
  ]
  if (value instanceof Error) parts.push(value.message, value.stack ?? "", shown(value.cause))
  if (Exit.isExit(value) && Exit.isFailure(value)) {
    parts.push(Cause.pretty(value.cause), Cause.pretty(value.cause, { renderErrorCause: true }))
  }
  return parts.join("\n")
}

/** Runs a program and returns all that it logged, traced and measured, beside its exit. */
const observed = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const spans: Array<Tracer.Span> = []
    const logger = Logger.make((log) => {
      lines.push(
        shown(log.message),
        shown([...HashMap.entries(log.annotations)]),
        Cause.pretty(log.cause),
        List.toArray(log.spans)
          .map((s) => s.label)
          .join()
      )
    })
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      span: (...args) => {
        const span = native.span(...args)
        spans.push(span)
        return span
      },
      context: native.context
    })
    const exit = yield* Effect.exit(program).pipe(
      Effect.withTracer(tracer),
      Logger.withMinimumLogLevel(LogLevel.All),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
    const metrics = yield* Metric.snapshot
    return {
      exit,
      lines: lines.length,
      spans: spans.length,
      text: [
        ...lines,
        ...spans.map((s) => shown([s.name, [...s.attributes], s.status])),
        shown(metrics),
        shown(exit)
      ].join("\n")
    }
  })

const findings = (text: string): ReadonlyArray<string> => canaries.filter((c) => text.includes(c))

/** Every operation of a manager, each observed with its result. */
const everything = (manager: TokenManager.Manager, saved: Credentials.Credentials) =>
  Effect.gen(function* () {
    const events = yield* Effect.fork(Stream.runCollect(manager.events))
    yield* settle
    const results: Array<unknown> = []
    const keep = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.flatMap(Effect.exit(effect), (exit) => Effect.sync(() => void results.push(exit)))
    for (const round of [0, 1, 9, 10, 30]) {
      yield* keep(manager.getAccessToken)
      yield* keep(manager.getAccessTokenFor({ minValidity: "1 hour" }))
      yield* keep(manager.peekAccessToken)
      yield* keep(manager.credentials)
      yield* keep(manager.status)
      yield* keep(manager.cachedStatus)
      yield* keep(manager.snapshot)
      yield* keep(manager.profile)
      yield* keep(manager.cachedProfile)
      yield* keep(manager.explain)
      yield* keep(manager.refresh)
      yield* keep(Effect.flatMap(manager.getAccessToken, manager.reject))
      results.push(manager.unsafePeek(), manager)
      yield* TestClock.adjust(round * minute)
    }
    yield* keep(manager.save(saved))
    yield* keep(manager.clear)
    yield* keep(manager.invalidate)
    yield* settle
    results.push(yield* Fiber.interrupt(events))
    return results
  })

const answers: Record<string, Setup> = {
  "all well": { script: () => secretAnswer },
  "every refresh failing": {
    script: (n) =>
      ScriptedRefresher.fail(
        (["NotSent", "MaybeSent", "Transient", "Misconfigured", "GrantDead"] as const)[n % 5]!
      )
  },
  "malformed answers": {
    script: () => ScriptedRefresher.fail("Malformed", { salvaged: secretGrant(10 * minute) })
  },
  "a refresher that dies": {
    script: () => ({
      answer: ({ previous }) => {
        throw new Error(
          `posted ${Redacted.value(Option.getOrThrow(Option.getOrThrow(previous).refreshToken))} in vain`
        )
      }
    })
  },
  "storage failing now and then": {
    script: () => secretAnswer,
    faults: [
      { operation: "load", call: (n) => n % 3 === 0 },
      { operation: "commit", call: (n) => n % 2 === 0 },
      { operation: "remove", call: 1 }
    ]
  }
}

describe("no secret is seen", () => {
  for (const [name, setup] of Object.entries(answers)) {
    it.scoped(`in logs, spans, metrics, errors, inspect and JSON: ${name}`, () =>
      Effect.gen(function* () {
        const { exit, lines, spans, text } = yield* observed(
          Effect.gen(function* () {
            const { manager } = yield* bench({ ...setup, initial: secretGrant(10 * minute) })
            return yield* everything(manager, secretGrant(minute))
          })
        )
        expect(Exit.isSuccess(exit)).toBe(true)
        expect(lines).toBeGreaterThan(5)
        expect(spans).toBeGreaterThan(0)
        expect(findings(text)).toEqual([])
      })
    )
  }

  it.scoped("when storage went back in time", () =>
    Effect.gen(function* () {
      const { text } = yield* observed(
        Effect.gen(function* () {
          const { manager, storage } = yield* bench({
            initial: secretGrant(10 * minute),
            script: () => secretAnswer
          })
          const backup = Option.getOrThrow(yield* storage.load).entry
          yield* manager.refresh
          yield* peerWrites(storage, () => backup)
          yield* TestClock.adjust(20 * minute)
          return yield* Effect.flip(manager.getAccessToken)
        })
      )
      expect(text).toContain("RolledBack")
      expect(findings(text)).toEqual([])
    })
  )

  it("in the records themselves, nor in the reasons for refusing one", () => {
    const credentials = secretGrant(minute)
    const entry = Entry.first(credentials)
    const json = { ...Entry.toJson(entry), accessToken: 5, refreshToken: canary(), intent: canary() }
    const refused = Entry.fromJson(json, start)
    const response = Credentials.fromResponse(
      { access_token: `${canary()}\n`, refresh_token: canary(), expires_in: canary(), token_type: canary() },
      Option.some(credentials),
      { requestedAt: start }
    )
    const versioned: TokenStorage.Versioned = { entry, version: "1" as TokenStorage.Version }
    const text = [credentials, entry, refused, response, versioned, RefreshLease.layerProcess]
      .map(shown)
      .join("\n")
    expect(text).toContain("Malformed")
    expect(findings(text)).toEqual([])
  })

  it("and a secret that is shown would be found", () => {
    expect(findings(shown({ deep: [{ token: canaries[3] }] }))).toEqual([canaries[3]])
    expect(findings(shown(Exit.fail(new Error(canaries[5]))))).toEqual([canaries[5]])
  })
})
