/**
 * What every `RefreshLease` must do. See {@link Law} for how to run the laws.
 *
 * A clock whose sleeps never end simulates a stopped holder, because a lease must be renewed by the clock of
 * the fiber that acquired it.
 *
 * @since 0.1.0
 */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Fibers } from "@latchkey/core/internal-api"
import { check, type Law, law, LawBroken } from "./Law.js"

/**
 * Two handles on the same leases, none of them held.
 *
 * @since 0.1.0
 * @category models
 */
export interface Leases {
  readonly first: Context.Tag.Service<RefreshLease>
  readonly second: Context.Tag.Service<RefreshLease>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E> {
  readonly make: Effect.Effect<Leases, E, Scope.Scope>
  /** How long the leases last. Default: 1 second. Long enough for a round trip on a busy machine. */
  readonly ttl?: Duration.DurationInput | undefined
  /** Whether the lease is renewed while it is held, as the port requires. Default: true. */
  readonly renews?: boolean | undefined
  /**
   * Whether the lease lasts exactly for its ttl, even if the wall clock of a holder or a waiter is wrong by
   * years. Default: false. Any backend that outlives a process should do so.
   */
  readonly bearsWrongClocks?: boolean | undefined
}

const account = "laws@example.com"

/**
 * @since 0.1.0
 * @category laws
 */
export const laws = <E>(options: Options<E>): ReadonlyArray<Law> => {
  const define = law(options.make)
  const ttl = Duration.decode(options.ttl ?? "1 second")
  // For leases that must not lapse, even on a busy machine.
  const long = Duration.times(ttl, 60)
  const renewal = define("it is renewed while its scope is open", ({ first, second }) =>
    unlessStalled(
      ttl,
      Effect.gen(function* () {
        const lease = yield* first.acquire(account, ttl)
        yield* Effect.sleep(Duration.times(ttl, 2.5))
        yield* check(yield* lease.isHeld, "it lapsed although its holder is well")
        yield* checkBusy(second, account, ttl)
      }),
      Effect.ignore(Effect.scoped(second.acquire(`${account}.other`, ttl)))
    )
  )
  const wrongClocks = (by: number): ReadonlyArray<Law> => {
    const wrong = Effect.withClock(wrongBy(by))
    const how = by < 0 ? `${-by} years behind` : `${by} years ahead`
    return [
      define(`a holder whose clock is ${how} has it for its time, not longer`, ({ first, second }) =>
        Effect.gen(function* () {
          const before = yield* Clock.currentTimeMillis
          yield* acquireStalled(first, account, ttl, wrongBy(by))
          const busy = yield* isBusy(second, account, ttl)
          const early = (yield* Clock.currentTimeMillis) - before < Duration.toMillis(ttl)
          yield* check(busy || !early, "it was taken over before its time")
          yield* takeOver(second, account, ttl)
        })
      ),
      define(
        `one who waits with a clock that is ${how} gets it when its time has passed`,
        ({ first, second }) =>
          Effect.gen(function* () {
            const before = yield* Clock.currentTimeMillis
            yield* acquireStalled(first, account, ttl)
            const busy = yield* wrong(isBusy(second, account, ttl))
            const early = (yield* Clock.currentTimeMillis) - before < Duration.toMillis(ttl)
            yield* check(busy || !early, "it was taken over before its time")
            yield* wrong(takeOver(second, account, ttl))
          })
      )
    ]
  }
  return [
    define("a lease is held by one, and the other is told so", ({ first, second }) =>
      Effect.gen(function* () {
        const lease = yield* first.acquire(account, long)
        yield* check(yield* lease.isHeld, "it is granted, but not held")
        yield* checkBusy(second, account, long)
        yield* checkBusy(first, account, long)
      })
    ),
    define("one of many who ask at once gets it", ({ first, second }) =>
      Effect.gen(function* () {
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? first : second)),
          (handle) => Effect.either(handle.acquire(account, long)),
          { concurrency: "unbounded" }
        )
        const granted = outcomes.filter(Either.isRight).length
        yield* check(granted === 1, `${granted} of 16 were granted it`)
        for (const outcome of outcomes) {
          if (Either.isLeft(outcome) && outcome.left.reason !== "Busy") return yield* outcome.left
        }
      })
    ),
    define("accounts do not stand in each other's way", ({ first, second }) =>
      Effect.gen(function* () {
        yield* first.acquire(account, long)
        yield* second.acquire(`${account}.au`, long)
      })
    ),
    define("an account may have any name", ({ first, second }) =>
      Effect.gen(function* () {
        for (const name of [
          "__proto__",
          "__proto___",
          "constructor",
          "%7b{}",
          "a:b",
          "'\";--",
          "é\u{1f511}"
        ]) {
          const lease = yield* first.acquire(name, long)
          yield* check(yield* lease.isHeld, `that of ${name} is granted, but not held`)
          yield* checkBusy(second, name, long)
        }
      })
    ),
    define("it ends with its scope, at once, and is not held then", ({ first, second }) =>
      Effect.gen(function* () {
        const lease = yield* Effect.scoped(first.acquire(account, long))
        yield* Effect.scoped(second.acquire(account, long))
        yield* check(!(yield* lease.isHeld), "it is held although its scope has closed")
      })
    ),
    define("it ends when its holder is interrupted", ({ first, second }) =>
      Effect.gen(function* () {
        const granted = yield* Deferred.make<void>()
        const holding = first
          .acquire(account, long)
          .pipe(Effect.andThen(Deferred.succeed(granted, undefined)), Effect.andThen(Effect.never))
        const holder = yield* Effect.fork(Effect.scoped(holding))
        yield* Effect.raceFirst(Deferred.await(granted), Fiber.join(holder))
        yield* checkBusy(second, account, ttl)
        yield* Fiber.interrupt(holder)
        yield* Effect.scoped(second.acquire(account, ttl))
      })
    ),
    define("the fence rises with every grant", ({ first, second }) =>
      Effect.gen(function* () {
        let last = 0
        for (const handle of [first, second, second, first, first, second]) {
          const { fence } = yield* Effect.scoped(handle.acquire(account, ttl))
          yield* check(Number.isSafeInteger(fence) && fence > last, `fence ${fence} came after ${last}`)
          last = fence
        }
      })
    ),
    define("a holder that is stopped loses it when its time has passed, not before", ({ first, second }) =>
      Effect.gen(function* () {
        const before = yield* Clock.currentTimeMillis
        const { lease } = yield* acquireStalled(first, account, ttl)
        const busy = yield* isBusy(second, account, ttl)
        const early = (yield* Clock.currentTimeMillis) - before < Duration.toMillis(ttl)
        yield* check(busy || !early, "it was taken over before its time")
        const taken = yield* takeOver(second, account, ttl, long)
        yield* check(taken.fence > lease.fence, "the fence did not rise with the takeover")
        yield* check(!(yield* lease.isHeld), "the one that was stopped believes that it holds it")
        yield* check(yield* taken.isHeld, "the new holder does not hold it")
      })
    ),
    define("the end of a lapsed lease does not end the one that followed it", ({ first, second }) =>
      Effect.gen(function* () {
        const lapsed = yield* acquireStalled(first, account, ttl)
        const taken = yield* takeOver(second, account, ttl, long)
        yield* lapsed.close
        yield* check(yield* taken.isHeld, "the new holder lost it")
        yield* checkBusy(first, account, ttl)
      })
    ),
    ...(options.renews === false ? [] : [renewal]),
    ...(options.bearsWrongClocks === true ? years.flatMap(wrongClocks) : [])
  ]
}

const years = [-10, 10]

/** A clock that is wrong as a wall clock, but measures elapsed time correctly. */
const wrongBy = (inYears: number): Clock.Clock => {
  const real = Fibers.systemClock
  const millis = () => real.unsafeCurrentTimeMillis() + inYears * 31_557_600_000
  return Fibers.makeClock(
    millis,
    (duration) => real.sleep(duration),
    () => Fibers.monotonicNanos(real)
  )
}

const isBusy = (handle: Context.Tag.Service<RefreshLease>, name: string, ttl: Duration.Duration) =>
  Effect.scoped(handle.acquire(name, ttl)).pipe(
    Effect.as(false),
    Effect.catchIf(
      (error) => error.reason === "Busy",
      () => Effect.succeed(true)
    )
  )

const checkBusy = (handle: Context.Tag.Service<RefreshLease>, name: string, ttl: Duration.Duration) =>
  Effect.flatMap(isBusy(handle, name, ttl), (busy) => check(busy, "a second holder was granted it"))

/**
 * A process, or a backend, that stood still for part of a ttl has rightly lost its lease. What it saw proves nothing. `probe`
 * is one exchange with the backend.
 */
const unlessStalled = <E>(
  ttl: Duration.Duration,
  attempt: Effect.Effect<void, E, Scope.Scope>,
  probe: Effect.Effect<void>
): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    const step = Duration.toMillis(ttl) / 10
    for (let again = 10; ; again--) {
      let slowest = 0
      const watching = Effect.gen(function* () {
        for (;;) {
          const before = yield* Clock.currentTimeMillis
          yield* Effect.sleep(step)
          yield* probe
          slowest = Math.max(slowest, (yield* Clock.currentTimeMillis) - before)
        }
      })
      const outcome = yield* Effect.raceFirst(Effect.either(Effect.scoped(attempt)), watching)
      if (Either.isRight(outcome)) return
      if (slowest < 4 * step || again === 0) return yield* Effect.fail(outcome.left)
    }
  })

/**
 * Acquires a lease whose holder stops at once. `close` ends its scope, as when the holder wakes up again.
 * `real` is the holder's clock, by default the system's.
 *
 * @since 0.1.0
 * @category utils
 */
export const acquireStalled = (
  handle: Context.Tag.Service<RefreshLease>,
  name: string,
  ttl: Duration.Duration,
  real: Clock.Clock = Fibers.systemClock
) =>
  Effect.gen(function* () {
    const scope = yield* Effect.acquireRelease(Scope.make(), (s) => Scope.close(s, Exit.void))
    let stopped = false
    const clock = Fibers.makeClock(
      () => real.unsafeCurrentTimeMillis(),
      (duration) =>
        Effect.andThen(
          real.sleep(duration),
          Effect.suspend(() => (stopped ? Effect.never : Effect.void))
        ),
      () => Fibers.monotonicNanos(real)
    )
    const lease = yield* handle.acquire(name, ttl).pipe(Scope.extend(scope), Effect.withClock(clock))
    stopped = true
    return { lease, close: Scope.close(scope, Exit.void) }
  })

/**
 * Requests a lease until it is granted, for as long as a lapsed one may last. `next` is how long the new one
 * lasts, by default as long as the lapsed one.
 *
 * @since 0.1.0
 * @category utils
 */
export const takeOver = (
  handle: Context.Tag.Service<RefreshLease>,
  name: string,
  ttl: Duration.Duration,
  next: Duration.Duration = ttl
) =>
  Effect.gen(function* () {
    const end = (yield* Clock.currentTimeMillis) + Duration.toMillis(ttl) * 3 + 2_000
    for (;;) {
      const outcome = yield* Effect.either(handle.acquire(name, next))
      if (Either.isRight(outcome)) return outcome.right
      if (outcome.left.reason !== "Busy") return yield* outcome.left
      if ((yield* Clock.currentTimeMillis) > end) {
        return yield* new LawBroken({ message: "a lease whose time has passed is not granted anew" })
      }
      yield* Effect.sleep("20 millis")
    }
  })
