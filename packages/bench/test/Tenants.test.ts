import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Accounts from "../src/campaigns/Accounts.js"
import * as Fleet from "../src/campaigns/Fleet.js"
import { openers } from "../src/campaigns/Opener.js"
import { describeWith } from "../../../.ci/describeWith.js"
import { redis } from "../../../.ci/programs.js"

describe("campaigns for many accounts, in small", () => {
  it.live("one process holds and renews them, each once", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const open = yield* openers.sqlite
        const figures = yield* Effect.promise(() => Accounts.run(open, 60, 40))
        expect(figures.broken).toEqual([])
        expect(figures).toMatchObject({ due: 40 })
      })
    )
  )

  describeWith(redis, "across processes", () => {
    it.live("of two processes one is killed: each account is renewed once, and none is lost", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const open = yield* openers.redis
          const figures = yield* Effect.promise(() => Fleet.run(open, 40))
          expect(figures.broken).toEqual([])
        })
      )
    )
  })
})
