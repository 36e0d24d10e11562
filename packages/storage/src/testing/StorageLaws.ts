/**
 * What every `TokenStorage` must do. See {@link Law} for how to run the laws.
 *
 * @since 0.1.0
 */
import type { TokenStorage } from "@latchkey/core/TokenStorage"
import * as Entry from "@latchkey/core/Entry"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { check, checkRefused, checkSame, type Law, law, LawBroken } from "./Law.js"
import * as Sample from "./Sample.js"

/**
 * Two handles on one unused store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stores {
  readonly first: Context.Tag.Service<TokenStorage>
  readonly second: Context.Tag.Service<TokenStorage>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E> {
  readonly make: Effect.Effect<Stores, E, Scope.Scope>
  /** Whether the backend has `changes`. The laws check that it does. */
  readonly changes: boolean
}

/**
 * @since 0.1.0
 * @category laws
 */
export const laws = <E>(options: Options<E>): ReadonlyArray<Law> => {
  const define = law(options.make)
  return [
    define("an empty store loads as none", ({ first, second }) =>
      Effect.gen(function* () {
        yield* check(Option.isNone(yield* first.load), "the first handle found something in a new store")
        yield* check(Option.isNone(yield* second.load), "the second handle found something in a new store")
      })
    ),
    define("its location names it and is the same for all", ({ first, second }) =>
      check(first.location !== "" && first.location === second.location, "the locations are blank or differ")
    ),
    define("every field comes back, through either handle", ({ first, second }) =>
      Effect.gen(function* () {
        const version = yield* first.commit(Sample.full, Option.none())
        for (const handle of [first, second]) {
          const loaded = yield* present(handle)
          yield* checkSame("load", loaded.entry, Sample.full)
          yield* check(loaded.version === version, "load gave another version than commit had")
        }
      })
    ),
    define("absent fields stay absent", ({ first, second }) =>
      Effect.gen(function* () {
        yield* first.commit(Sample.full, Option.none())
        const { version } = yield* present(second)
        const bare = new Entry.Entry({
          ...Sample.plain("bare"),
          credentials: {
            ...Sample.plain("bare").credentials,
            idToken: Option.none(),
            expiresAt: Option.none()
          },
          fence: Sample.full.fence
        })
        yield* second.commit(bare, Option.some(version))
        yield* checkSame("load", (yield* present(first)).entry, bare)
      })
    ),
    define("a commit that expects nothing is refused where there is something", ({ first, second }) =>
      Effect.gen(function* () {
        yield* first.commit(Sample.plain("a"), Option.none())
        for (const handle of [first, second]) {
          yield* checkRefused("expected none", handle.commit(Sample.plain("b"), Option.none()), ["Conflict"])
        }
        yield* checkSame("the entry after that", (yield* present(first)).entry, Sample.plain("a"))
      })
    ),
    define("a commit that expects something is refused where there is nothing", ({ first, second }) =>
      Effect.gen(function* () {
        const version = yield* first.commit(Sample.plain("a"), Option.none())
        yield* first.remove
        for (const handle of [first, second]) {
          const commit = handle.commit(Sample.plain("b"), Option.some(version))
          yield* checkRefused("expected what was removed", commit, ["Conflict"])
        }
        yield* check(Option.isNone(yield* second.load), "the refused commit left something")
      })
    ),
    define("a commit that expects an earlier version is refused, the next one too", ({ first, second }) =>
      Effect.gen(function* () {
        const v1 = yield* first.commit(Sample.plain("a"), Option.none())
        const v2 = yield* second.commit(Sample.plain("b"), Option.some(v1))
        yield* checkRefused("expected the first", first.commit(Sample.plain("c"), Option.some(v1)), [
          "Conflict"
        ])
        yield* checkSame("the entry after that", (yield* present(first)).entry, Sample.plain("b"))
        yield* first.commit(Sample.plain("c"), Option.some(v2))
        yield* checkSame("the entry at last", (yield* present(second)).entry, Sample.plain("c"))
      })
    ),
    define("every commit yields a new version, even of an equal entry", ({ first, second }) =>
      Effect.gen(function* () {
        const v1 = yield* first.commit(Sample.plain("a"), Option.none())
        const v2 = yield* second.commit(Sample.plain("a"), Option.some(v1))
        yield* check(v1 !== v2, "two commits yielded the same version")
        yield* checkRefused("expected the first", first.commit(Sample.plain("a"), Option.some(v1)), [
          "Conflict"
        ])
      })
    ),
    define("one of many commits on the same version wins", ({ first, second }) =>
      Effect.gen(function* () {
        const start = Option.some(yield* first.commit(Sample.plain("start"), Option.none()))
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 16 }, (_, i) => i),
          (i) => Effect.either((i % 2 === 0 ? first : second).commit(Sample.plain(`${i}`), start)),
          { concurrency: "unbounded" }
        )
        const winners = outcomes.flatMap((o, i) => (Either.isRight(o) ? [{ i, version: o.right }] : []))
        const [winner] = winners
        if (winner === undefined || winners.length > 1) {
          return yield* new LawBroken({
            message: `${winners.length} of 16 commits on one version went through`
          })
        }
        for (const outcome of outcomes) {
          if (Either.isLeft(outcome) && outcome.left._tag === "StorageError") return yield* outcome.left
        }
        const loaded = yield* present(second)
        yield* checkSame("the entry", loaded.entry, Sample.plain(`${winner.i}`))
        yield* check(loaded.version === winner.version, "the version is not the winner's")
      })
    ),
    define("remove says whether there was something, and leaves nothing", ({ first, second }) =>
      Effect.gen(function* () {
        yield* check(!(yield* first.remove), "it removed something from an empty store")
        yield* first.commit(Sample.plain("a"), Option.none())
        yield* check(yield* second.remove, "it found nothing to remove")
        yield* check(Option.isNone(yield* first.load), "something is left")
        yield* check(!(yield* first.remove), "it removed the same entry twice")
        yield* first.commit(Sample.plain("b"), Option.none())
        yield* checkSame("the entry after that", (yield* present(second)).entry, Sample.plain("b"))
      })
    ),
    define("a lower fence is refused, a higher one kept, none lets through", ({ first, second }) =>
      Effect.gen(function* () {
        const fenced = (name: string, fence: number) => new Entry.Entry({ ...Sample.plain(name), fence })
        const v1 = yield* first.commit(fenced("a", 5), Option.none())
        yield* checkRefused("fence 4 after 5", second.commit(fenced("b", 4), Option.some(v1)), ["Fenced"])
        yield* checkSame("the entry after that", (yield* present(first)).entry, fenced("a", 5))
        const v2 = yield* second.commit(fenced("c", 0), Option.some(v1))
        yield* checkSame("written without a lease", (yield* present(first)).entry, fenced("c", 5))
        yield* checkRefused("fence 4 after 0", second.commit(fenced("d", 4), Option.some(v2)), ["Fenced"])
        const v3 = yield* second.commit(fenced("e", 5), Option.some(v2))
        yield* first.commit(fenced("f", 6), Option.some(v3))
        yield* checkSame("the last", (yield* present(second)).entry, fenced("f", 6))
      })
    ),
    define(
      options.changes
        ? "another writer's commit is seen as a change"
        : "it says that it cannot tell of changes",
      ({ first, second }) =>
        Option.match(first.changes, {
          onNone: () => check(!options.changes, "it has no stream of changes"),
          onSome: (changes) =>
            Effect.gen(function* () {
              yield* check(options.changes, "it has a stream of changes")
              const seen = yield* Effect.fork(Stream.runHead(changes))
              // The subscription may take a moment: write until it reports a change.
              const write = Effect.gen(function* () {
                const version = Option.map(yield* second.load, (loaded) => loaded.version)
                yield* second.commit(Sample.plain("changed"), version)
                yield* Effect.sleep("100 millis")
              })
              const told = yield* Effect.race(
                Effect.as(Fiber.join(seen), true),
                Effect.as(Effect.repeatN(write, 49), false)
              )
              yield* check(told, "50 commits by the other handle were not told")
            })
        })
    )
  ]
}

const present = (handle: Context.Tag.Service<TokenStorage>) =>
  Effect.flatMap(
    handle.load,
    Option.match({
      onNone: () => new LawBroken({ message: "load found nothing where there is an entry" }),
      onSome: Effect.succeed
    })
  )
