/**
 * What every `TokenStorages` must do besides its storages: find due accounts, list all accounts, count them.
 * See {@link Law} for how to run the laws.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { check, type Law, law } from "./Law.js"

/**
 * Two handles on the same accounts, initially none.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stores {
  readonly first: Context.Tag.Service<TokenStorages.TokenStorages>
  readonly second: Context.Tag.Service<TokenStorages.TokenStorages>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E> {
  readonly make: Effect.Effect<Stores, E, Scope.Scope>
}

const start = 1_800_000_000_000

/**
 * Creates an entry whose token expires at this time, in epoch milliseconds.
 *
 * @since 0.1.0
 * @category samples
 */
export const entryOf = (name: string, expiresAt: number | undefined): Entry.Entry =>
  Entry.first(
    Credentials.make({
      accessToken: `access-${encodeURIComponent(name)}`,
      refreshToken: `refresh-${encodeURIComponent(name)}`,
      obtainedAt: start - 3_600_000,
      expiresAt
    })
  )

const write = (
  { of }: Context.Tag.Service<TokenStorages.TokenStorages>,
  account: string,
  change: (held: Option.Option<Entry.Entry>) => Entry.Entry
) =>
  Effect.flatMap(of(account), (storage) =>
    Effect.flatMap(storage.load, (held) =>
      storage.commit(
        change(Option.map(held, ({ entry }) => entry)),
        Option.map(held, ({ version }) => version)
      )
    )
  )

/** Returns everything that is due, in pages. */
const pages = (
  storages: Context.Tag.Service<TokenStorages.TokenStorages>,
  before: number,
  limit: number
): Effect.Effect<ReadonlyArray<string>, unknown> => {
  const from = (after: TokenStorages.DueAccount | undefined): Effect.Effect<ReadonlyArray<string>, unknown> =>
    Effect.flatMap(storages.due({ before, limit, after }), (page) =>
      page.length < limit
        ? Effect.succeed(page.map(({ account }) => account))
        : Effect.map(from(page.at(-1)), (rest) => [...page.map(({ account }) => account), ...rest])
    )
  return from(undefined)
}

const listed = (storages: Context.Tag.Service<TokenStorages.TokenStorages>, after?: string) =>
  Effect.map(Stream.runCollect(storages.accounts(after)), (all) => Array.from(all))

const same = (what: string, found: unknown, expected: unknown) =>
  check(
    JSON.stringify(found) === JSON.stringify(expected),
    `${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`
  )

/**
 * @since 0.1.0
 * @category laws
 */
export const laws = <E>(options: Options<E>): ReadonlyArray<Law> => {
  const define = law(options.make)
  return [
    define("no accounts: nothing is due, listed or counted", ({ first, second }) =>
      Effect.gen(function* () {
        yield* same("due", yield* pages(first, start * 2, 10), [])
        yield* same("accounts", yield* listed(second), [])
        yield* same("count", yield* first.count, 0)
      })
    ),
    define("what is due comes the earliest first, in pages, through either handle", ({ first, second }) =>
      Effect.gen(function* () {
        // Many that are due at the same time, with names that do not sort like their times.
        const names = Array.from({ length: 25 }, (_, i) => `account ${String.fromCharCode(122 - i)} é%{}`)
        const dueAt = (i: number) => start + Math.floor(i / 6) * 1000
        yield* Effect.forEach(names, (name, i) => write(first, name, () => entryOf(name, dueAt(i))), {
          discard: true
        })
        const expected = names
          .map((name, i) => ({ name, at: dueAt(i) }))
          .sort((a, b) => a.at - b.at || (a.name < b.name ? -1 : 1))
        for (const limit of [1, 4, 25, 100]) {
          const found = yield* pages(second, start + 10_000, limit)
          yield* same(
            `pages of ${limit}`,
            found,
            expected.map(({ name }) => name)
          )
        }
        yield* same(
          "what is due before the third second",
          yield* pages(first, start + 2000, 100),
          expected.filter(({ at }) => at < start + 2000).map(({ name }) => name)
        )
        yield* same("count", yield* second.count, names.length)
        yield* same(
          "accounts",
          (yield* listed(first)).map(({ account }) => account),
          [...names].sort()
        )
        const [, last = "", ...later] = (yield* listed(first)).map(({ account }) => account)
        yield* same(
          "accounts after the second",
          (yield* listed(first, last)).map(({ account }) => account),
          later
        )
      })
    ),
    define("a commit moves an account, and a removal takes it out", ({ first, second }) =>
      Effect.gen(function* () {
        yield* write(first, "moves", () => entryOf("moves", start))
        yield* write(first, "stays", () => entryOf("stays", start + 1))
        yield* write(second, "moves", () => entryOf("moved", start + 5000))
        yield* same("due", yield* pages(first, start + 10_000, 10), ["stays", "moves"])
        yield* Effect.flatMap(second.of("stays"), ({ remove }) => remove)
        yield* same("due after a removal", yield* pages(first, start + 10_000, 10), ["moves"])
        yield* same("count after a removal", yield* first.count, 1)
        yield* same(
          "accounts",
          (yield* listed(second)).map(({ account }) => account),
          ["moves"]
        )
      })
    ),
    define(
      "dead grants, and those without an expiry or a refresh token, are listed and never due",
      ({ first }) =>
        Effect.gen(function* () {
          const dead = entryOf("dead", start)
          const mark = new Entry.DeadGrant({
            fingerprint: Entry.grantFingerprint(dead.credentials),
            at: start,
            reason: "invalid_grant",
            rotationLost: false
          })
          yield* write(first, "dead", () => new Entry.Entry({ ...dead, dead: Option.some(mark) }))
          yield* write(first, "lasting", () => entryOf("lasting", undefined))
          const fixed = Credentials.make({ accessToken: "access-fixed", expiresAt: start })
          yield* write(first, "fixed", () => Entry.first(fixed))
          yield* same("due", yield* pages(first, start * 2, 10), [])
          yield* same(
            "accounts",
            (yield* listed(first)).map(({ account, state }) => [account, state]),
            [
              ["dead", "Dead"],
              ["fixed", "Fixed"],
              ["lasting", "Renewable"]
            ]
          )
        })
    ),
    define("a grant whose server asked to wait is not due before that", ({ first }) =>
      Effect.gen(function* () {
        const wait = new Entry.ServerWait({ at: start, until: start + 60_000 })
        yield* write(
          first,
          "waits",
          () => new Entry.Entry({ ...entryOf("waits", start), serverWait: Option.some(wait) })
        )
        yield* same("due before", yield* pages(first, start + 60_000, 10), [])
        yield* same("due after", yield* pages(first, start + 60_001, 10), ["waits"])
      })
    ),
    define("many who write at once leave the index as the entries are", ({ first, second }) =>
      Effect.gen(function* () {
        const names = Array.from({ length: 20 }, (_, i) => `account ${i}`)
        yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => i),
          (i) =>
            Effect.ignore(
              write(i % 2 === 0 ? first : second, names[i % 20]!, () =>
                entryOf(`${i}`, start + ((i * 7919) % 100_000))
              )
            ),
          { concurrency: 16, discard: true }
        )
        const expected: Array<readonly [string, number | null]> = []
        for (const name of [...names].sort()) {
          const storage = yield* first.of(name)
          const entry = yield* Effect.map(storage.load, Option.getOrThrow)
          expected.push([name, Option.getOrNull(TokenStorages.atRest(entry.entry).dueAt)])
        }
        yield* same(
          "accounts",
          (yield* listed(second)).map(({ account, dueAt }) => [account, Option.getOrNull(dueAt)]),
          expected
        )
        const inOrder = [...expected].sort((a, b) => a[1]! - b[1]! || (a[0] < b[0] ? -1 : 1))
        yield* same(
          "due",
          yield* pages(first, start * 2, 7),
          inOrder.map(([name]) => name)
        )
      })
    )
  ]
}
