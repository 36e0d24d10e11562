/** The tests of every server that stores grants. */
import * as Entry from "@latchkey/core/Entry"
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { TokenStorage } from "@latchkey/core/TokenStorage"
import type { TokenStorages } from "@latchkey/core/TokenStorages"
import { Sample } from "@latchkey/storage/testing"
import { assert } from "@effect/vitest"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Daemon } from "./Daemon.js"

/** Every failure on the way is Unavailable. */
export const untilItAnswers = <A, E extends { readonly _tag: string; readonly reason: string }, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.retry(effect, {
    while: (error) => error.reason === "Unavailable",
    schedule: Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(250))
  })

/** Crashes by each of these signals while a writer is at work: what was acknowledged is there, the lease goes on. */
export const crashes = (
  server: Daemon,
  signals: ReadonlyArray<NodeJS.Signals>,
  account: string,
  {
    lease,
    storage
  }: {
    readonly lease: Context.Tag.Service<RefreshLease>
    readonly storage: Context.Tag.Service<TokenStorage>
  }
) =>
  Effect.gen(function* () {
    const { fence, isHeld } = yield* lease.acquire(account, "1 minute")
    let acknowledged = 0
    const write = Effect.gen(function* () {
      const loaded = yield* storage.load
      const n = Option.match(loaded, { onNone: () => 1, onSome: ({ entry }) => entry.generation + 1 })
      const version = Option.map(loaded, (l) => l.version)
      yield* storage.commit(new Entry.Entry({ ...Sample.plain(`${n}`), generation: n, fence }), version)
      acknowledged = n
    })
    const writer = yield* Effect.fork(Effect.forever(untilItAnswers(write)))
    const more = Effect.suspend(() => {
      const before: number = acknowledged
      return Effect.repeat(Effect.sleep("5 millis"), { until: () => acknowledged > before + 2 })
    })
    for (const signal of signals) {
      yield* more
      yield* server.stop(signal)
      const before: number = acknowledged
      yield* server.start
      const { entry } = Option.getOrThrow(yield* untilItAnswers(storage.load))
      assert.isAtLeast(entry.generation, before)
    }
    yield* more
    yield* Fiber.interrupt(writer)
    const { entry } = Option.getOrThrow(yield* untilItAnswers(storage.load))
    assert.isAtLeast(entry.generation, acknowledged)
    assert.isTrue(yield* isHeld)
  })

/** Many accounts over one connection, and the one that changed. `longest` may be reported without its name. */
export const manyAccounts = (storages: Context.Tag.Service<TokenStorages>, tellsLongest: boolean) =>
  Effect.gen(function* () {
    const of = (name: string) => Either.getOrThrow(storages.of(name))
    const told = yield* Queue.unbounded<Option.Option<string>>()
    const changes = Option.getOrThrow(storages.changes)
    yield* Effect.forkScoped(Stream.runForEach(changes, (name) => Queue.offer(told, name)))
    const next = Effect.timeout(Queue.take(told), "10 seconds")
    assert.deepStrictEqual(yield* next, Option.none())
    const longest = "three".repeat(2000)
    const names = ["one", "two {%} 'and' *", longest]
    for (const name of names) {
      yield* of(name).commit(Sample.plain(name.slice(0, 8)), Option.none())
      assert.deepStrictEqual(
        yield* next,
        name === longest && !tellsLongest ? Option.none() : Option.some(name)
      )
    }
    const loaded = yield* Effect.forEach([...names, "none", "\ud800"], (name) => of(name).load, {
      concurrency: "unbounded"
    })
    const tokens = loaded.map(Option.map(({ entry }) => Redacted.value(entry.credentials.accessToken)))
    const expected = names.map((name) =>
      Redacted.value(Sample.plain(name.slice(0, 8)).credentials.accessToken)
    )
    assert.deepStrictEqual(tokens.map(Option.getOrNull), [...expected, null, null])
    const refused = Either.flip(storages.of("")).pipe(Either.getOrThrow)
    assert.strictEqual(refused.reason, "Malformed")
  })
