import type { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { sqlError } from "../src/edition/Sql.js"
import * as LibsqlWrites from "../src/internal/LibsqlWrites.js"

const failed = (cause: string) => sqlError(cause, cause)

/** A database that keeps what was committed, in order, and how many transactions there were. */
const fresh = (broken: { readonly begin?: boolean; readonly commit?: boolean } = {}) =>
  Effect.map(Effect.makeSemaphore(1), (turn) => {
    const kept: Array<string> = []
    let open: Array<string> | undefined
    let transactions = 0
    const write = LibsqlWrites.make<string>({
      turn,
      begin: Effect.suspend(() => {
        if (broken.begin === true) return Effect.fail(failed("begin"))
        assert.isUndefined(open)
        open = []
        transactions++
        return Effect.yieldNow()
      }),
      commit: Effect.suspend(() => {
        if (broken.commit === true) return Effect.fail(failed("commit"))
        kept.push(...(open ?? assert.fail()))
        open = undefined
        return Effect.yieldNow()
      }),
      rollback: Effect.sync(() => {
        assert.isDefined(open)
        open = undefined
      })
    })
    const insert = (text: string) =>
      write(
        Effect.suspend(() => {
          open?.push(text)
          return text.startsWith("bad") ? Effect.fail(failed(text)) : Effect.succeed(text)
        })
      )
    const all = (...texts: ReadonlyArray<string>) =>
      Effect.forEach(texts, (text) => Effect.either(insert(text)), { concurrency: "unbounded" })
    return { all, kept, count: () => transactions }
  })

const outcomes = (results: ReadonlyArray<Either.Either<string, SqlError>>) =>
  results.map(Either.match({ onLeft: (error) => `failed: ${error.message}`, onRight: (text) => text }))

describe("writes that wait at the same time", () => {
  it.effect("are one transaction, in their order", () =>
    Effect.gen(function* () {
      const { all, count, kept } = yield* fresh()
      const texts = Array.from({ length: 150 }, (_, i) => `${i}`)
      assert.deepStrictEqual(outcomes(yield* all(...texts)), texts)
      assert.deepStrictEqual(kept, texts)
      assert.isAtMost(count(), 4)
    })
  )

  it.effect("have each their own outcome where one of them fails", () =>
    Effect.gen(function* () {
      const { all, kept } = yield* fresh()
      const results = yield* all("a", "bad", "c", "bad too", "e")
      assert.deepStrictEqual(outcomes(results), ["a", "failed: bad", "c", "failed: bad too", "e"])
      assert.deepStrictEqual(kept, ["a", "c", "e"])
    })
  )

  it.effect("fail together where the transaction cannot be begun or ended, and nothing is kept", () =>
    Effect.gen(function* () {
      for (const where of ["begin", "commit"] as const) {
        const { all, kept } = yield* fresh({ [where]: true })
        assert.deepStrictEqual(outcomes(yield* all("a", "b")), [`failed: ${where}`, `failed: ${where}`])
        assert.deepStrictEqual(kept, [])
      }
    })
  )
})
