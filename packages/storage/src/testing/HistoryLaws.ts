/**
 * Random histories on one store through two handles. A small reference model judges each step. See
 * {@link Law} for how to run the laws.
 *
 * Steps in sequence must do exactly what the model does. In a step of several concurrent commits on one
 * version, exactly one wins, and a concurrent load returns the state before or after it.
 *
 * @since 0.1.0
 */
import type { TokenStorage, Version, Versioned } from "@latchkey/core/TokenStorage"
import * as Entry from "@latchkey/core/Entry"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { Fibers } from "@latchkey/core/internal-api"
import { check, type Law, LawBroken, live, render } from "./Law.js"
import * as Sample from "./Sample.js"
import type { Stores } from "./StorageLaws.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E> {
  readonly make: Effect.Effect<Stores, E, Scope.Scope>
  /** How many histories. Default: 50. */
  readonly histories?: number | undefined
  /** The seed of the histories. A failure names the seed it had. */
  readonly seed?: number | undefined
}

/**
 * @since 0.1.0
 * @category laws
 */
export const laws = <E>(options: Options<E>): ReadonlyArray<Law> => [
  {
    name: `${options.histories ?? 50} random histories go as in the reference model`,
    effect: live(runAll(options))
  }
]

type Step = { readonly handle: 0 | 1 } & (
  | { readonly do: "load" }
  | { readonly do: "remove" }
  /** `expect`: 0 is the current version, 1 the one before it, and so on; -1 is none. */
  | { readonly do: "commit"; readonly entry: Entry.Entry; readonly expect: number }
  | { readonly do: "race"; readonly entries: ReadonlyArray<Entry.Entry> }
)

const fences = FastCheck.oneof(
  { weight: 2, arbitrary: FastCheck.constant(0) },
  { weight: 3, arbitrary: FastCheck.nat(6) },
  { weight: 1, arbitrary: FastCheck.integer({ min: 1_700_000_000_000, max: 1_700_000_000_003 }) }
)

const handle = FastCheck.constantFrom<0 | 1>(0, 1)

const step: FastCheck.Arbitrary<Step> = FastCheck.oneof(
  { weight: 2, arbitrary: FastCheck.record({ do: FastCheck.constant("load" as const), handle }) },
  { weight: 1, arbitrary: FastCheck.record({ do: FastCheck.constant("remove" as const), handle }) },
  {
    weight: 6,
    arbitrary: FastCheck.record({
      do: FastCheck.constant("commit" as const),
      handle,
      entry: Sample.entry(fences),
      expect: FastCheck.oneof(
        { weight: 5, arbitrary: FastCheck.constant(0) },
        { weight: 2, arbitrary: FastCheck.integer({ min: -1, max: 3 }) }
      )
    })
  },
  {
    weight: 2,
    arbitrary: FastCheck.record({
      do: FastCheck.constant("race" as const),
      handle,
      entries: FastCheck.array(Sample.entry(FastCheck.constant(0)), { minLength: 2, maxLength: 5 })
    })
  }
)

const runAll = <E>(options: Options<E>): Effect.Effect<void, LawBroken> =>
  Effect.gen(function* () {
    const runtime = yield* Fibers.running()
    const seed = options.seed ?? (yield* Random.nextIntBetween(1, 2_147_483_647))
    const property = FastCheck.asyncProperty(
      FastCheck.array(step, { minLength: 1, maxLength: 12 }),
      async (steps) => {
        const history = Effect.scoped(Effect.flatMap(options.make, (stores) => runHistory(stores, steps)))
        const exit = await Fibers.runPromiseExit(runtime)(history)
        if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
      }
    )
    const result = yield* Effect.promise(() =>
      Promise.resolve(FastCheck.check(property, { seed, numRuns: options.histories ?? 50 }))
    )
    if (!result.failed) return
    const steps = (result.counterexample?.[0] ?? []).map(describe).join("\n")
    return yield* new LawBroken({
      message: `Seed ${seed}, history ${result.numRuns}, shrunk to:\n${steps}\n${String(result.errorInstance)}`
    })
  })

const describe = (s: Step): string =>
  `  handle ${s.handle} ${s.do}` +
  (s.do === "commit"
    ? ` expecting ${s.expect} back: ${render(s.entry)}`
    : s.do === "race"
      ? ` of ${s.entries.length}`
      : "")

/**
 * What the store must hold. Only bounds of the fence are known: after a removal, a store may or may not
 * remember the highest one it has seen.
 */
class Model {
  current = Option.none<Versioned>()
  readonly versions: Array<Version> = []
  fenceAtLeast = 0
  fenceAtMost = 0

  expected(back: number): Option.Option<Version> {
    if (back < 0) return Option.none()
    return back === 0
      ? Option.map(this.current, ({ version }) => version)
      : Option.fromNullable(this.versions[this.versions.length - 1 - back])
  }

  wrote(entry: Entry.Entry, version: Version): void {
    this.fenceAtLeast = Math.max(this.fenceAtLeast, entry.fence)
    this.fenceAtMost = Math.max(this.fenceAtMost, entry.fence)
    this.current = Option.some({ entry, version })
    this.versions.push(version)
  }

  removed(): void {
    this.current = Option.none()
    this.fenceAtLeast = 0
  }

  explains(loaded: Option.Option<Versioned>): boolean {
    if (Option.isNone(loaded) || Option.isNone(this.current)) {
      return Option.isNone(loaded) && Option.isNone(this.current)
    }
    const { entry, version } = loaded.value
    const { current } = this
    return (
      version === current.value.version &&
      entry.fence >= this.fenceAtLeast &&
      entry.fence <= this.fenceAtMost &&
      render(new Entry.Entry({ ...entry, fence: 0 })) ===
        render(new Entry.Entry({ ...current.value.entry, fence: 0 }))
    )
  }
}

const runHistory = (stores: Stores, steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const model = new Model()
    for (const [index, s] of steps.entries()) {
      const where = `step ${index + 1} (${s.do})`
      const store = [stores.first, stores.second][s.handle]!
      if (s.do === "remove") {
        const existed = yield* store.remove
        yield* check(existed === Option.isSome(model.current), `${where} answered ${existed}`)
        model.removed()
      } else if (s.do === "commit") yield* runCommit(where, model, store, s.entry, model.expected(s.expect))
      else if (s.do === "race") yield* runRace(where, model, stores, s.entries)
      for (const [i, any] of [stores.first, stores.second].entries()) {
        yield* check(
          model.explains(yield* any.load),
          `after ${where}, handle ${i} loads what the model does not hold`
        )
      }
    }
  })

const runCommit = (
  where: string,
  model: Model,
  store: Context.Tag.Service<TokenStorage>,
  entry: Entry.Entry,
  expected: Option.Option<Version>
) =>
  Effect.gen(function* () {
    const conflict =
      Option.getOrUndefined(expected) !== Option.getOrUndefined(Option.map(model.current, (c) => c.version))
    const outcome = yield* Effect.either(store.commit(entry, expected))
    if (Either.isRight(outcome)) {
      yield* check(!conflict, `${where} went through on a version that is not current`)
      yield* check(Entry.passesFence(entry, model.fenceAtLeast), `${where} went through below the fence`)
      yield* check(
        !model.versions.includes(outcome.right),
        `${where} yielded a version that was there before`
      )
      return model.wrote(entry, outcome.right)
    }
    const refusal = outcome.left
    if (refusal._tag === "StorageError") return yield* refusal
    yield* check(
      refusal.reason === "Conflict" ? conflict : !Entry.passesFence(entry, model.fenceAtMost),
      `${where} was refused with ${refusal.reason} for no reason`
    )
  })

const runRace = (where: string, model: Model, stores: Stores, entries: ReadonlyArray<Entry.Entry>) =>
  Effect.gen(function* () {
    const expected = model.expected(0)
    const before = model.current
    const [outcomes, seen] = yield* Effect.all(
      [
        Effect.forEach(
          entries,
          (entry, i) => Effect.either((i % 2 === 0 ? stores.first : stores.second).commit(entry, expected)),
          { concurrency: "unbounded" }
        ),
        Effect.all([stores.first.load, stores.second.load], { concurrency: "unbounded" })
      ],
      { concurrency: "unbounded" }
    )
    const won = outcomes.flatMap((o, i) =>
      Either.isRight(o) ? [{ entry: entries[i]!, version: o.right }] : []
    )
    for (const o of outcomes) if (Either.isLeft(o) && o.left._tag === "StorageError") return yield* o.left
    const [winner] = won
    if (winner === undefined || won.length > 1) {
      return yield* new LawBroken({ message: `${where}: ${won.length} of ${entries.length} commits won` })
    }
    yield* check(!model.versions.includes(winner.version), `${where} yielded a version that was there before`)
    model.wrote(winner.entry, winner.version)
    const known = [Option.map(before, (b) => b.version), Option.some(winner.version)].map(
      Option.getOrUndefined
    )
    for (const loaded of seen) {
      const version = Option.getOrUndefined(Option.map(loaded, (l) => l.version))
      yield* check(known.includes(version), `${where}: a load saw neither the state before nor the one after`)
    }
  })
