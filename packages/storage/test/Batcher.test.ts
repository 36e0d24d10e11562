import { assert, describe, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Batcher from "../src/internal/Batcher.js"

class Failed extends Data.TaggedError("Failed")<{ readonly ofOne: boolean }> {}

/** Answers each key with itself and keeps what was asked. `down` fails all, `bad` the question that it is in. */
const fresh = () => {
  const questions: Array<ReadonlyArray<string>> = []
  const ask = Batcher.make<string, string, Failed>({
    most: 3,
    ask: (keys) =>
      Effect.suspend(() => {
        questions.push(keys)
        if (keys.includes("down")) return Effect.fail(new Failed({ ofOne: false }))
        if (keys.includes("bad")) return Effect.fail(new Failed({ ofOne: true }))
        return Effect.as(Effect.yieldNow(), keys)
      }),
    isOfOne: ({ ofOne }) => ofOne
  })
  const all = (...keys: ReadonlyArray<string>) =>
    Effect.forEach(keys, (key) => Effect.either(ask(key)), { concurrency: "unbounded" })
  return { ask, all, questions }
}

describe("what is asked for at the same time", () => {
  it.effect("is asked for together, as many as one question may hold", () =>
    Effect.gen(function* () {
      const { all, questions } = fresh()
      const answers = yield* all("a", "b", "c", "d")
      assert.deepStrictEqual(answers.map(Either.getOrNull), ["a", "b", "c", "d"])
      assert.deepStrictEqual(questions, [["a", "b", "c"], ["d"]])
    })
  )

  it.effect("is asked for again by who comes later: an answer is never older than its question", () =>
    Effect.gen(function* () {
      const { ask, questions } = fresh()
      yield* ask("a")
      yield* ask("a")
      assert.deepStrictEqual(questions, [["a"], ["a"]])
    })
  )

  it.effect("fails alone where the fault is its own", () =>
    Effect.gen(function* () {
      const { all } = fresh()
      const answers = yield* all("a", "bad", "c")
      assert.deepStrictEqual(answers.map(Either.isRight), [true, false, true])
    })
  )

  it.effect("fails together where nobody answers, and is not asked for again", () =>
    Effect.gen(function* () {
      const { all, questions } = fresh()
      const answers = yield* all("a", "down")
      assert.deepStrictEqual(answers.map(Either.isRight), [false, false])
      assert.strictEqual(questions.length, 1)
    })
  )

  it.effect("fails after the time of one question where nobody answers, however many it takes", () =>
    Effect.gen(function* () {
      const { all, questions } = fresh()
      const answers = yield* all("a", "b", "down", "c", "d", "e", "f")
      assert.deepStrictEqual(
        answers.map(Either.isRight),
        answers.map(() => false)
      )
      assert.strictEqual(questions.length, 1)
      assert.deepStrictEqual((yield* all("a")).map(Either.getOrNull), ["a"])
    })
  )

  it.effect("is answered to the others when one who asked goes away", () =>
    Effect.gen(function* () {
      const { ask } = fresh()
      const first = yield* Effect.fork(ask("a"))
      const second = yield* Effect.fork(ask("b"))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(first)
      assert.strictEqual(yield* Fiber.join(second), "b")
    })
  )
})
