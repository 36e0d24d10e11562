/** `storage`: loads, commits and leases on each backend, in sequence. */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Bench } from "../Bench.js"
import * as Backend from "../campaigns/Backend.js"
import { inDirectory } from "../campaigns/Campaign.js"
import { openers } from "../campaigns/Opener.js"
import { spread } from "../Measure.js"
import { row, type Table } from "../Report.js"

interface Speeds {
  readonly load: ReadonlyArray<number>
  readonly commit: ReadonlyArray<number>
  readonly lease: ReadonlyArray<number>
}

/** Runs each for a second, in rounds. Returns the number per second. */
const speeds = (rounds: number, milliseconds: number) =>
  Effect.gen(function* () {
    const storage = yield* TokenStorage.TokenStorage
    const lease = yield* RefreshLease.RefreshLease
    let n = 0
    const load = storage.load
    const commit = Effect.flatMap(storage.load, (loaded) =>
      storage.commit(
        Entry.first(
          Credentials.make({ accessToken: `a${n++}`.padEnd(43, "x"), refreshToken: `r${n}`.padEnd(43, "x") }),
          n
        ),
        Option.map(loaded, (l) => l.version)
      )
    )
    const leased = Effect.scoped(lease.acquire("bench", "1 minute"))
    const perSecond = (step: Effect.Effect<unknown, unknown>) =>
      Effect.gen(function* () {
        let done = 0
        const began = performance.now()
        while (performance.now() - began < milliseconds) {
          yield* step
          done++
        }
        return (done * 1000) / (performance.now() - began)
      })
    const seen = { load: [] as Array<number>, commit: [] as Array<number>, lease: [] as Array<number> }
    yield* commit
    for (let round = 0; round < rounds; round++) {
      seen.load.push(yield* perSecond(load))
      seen.commit.push(yield* perSecond(commit))
      seen.lease.push(yield* perSecond(leased))
    }
    return seen satisfies Speeds
  })

export const storage: Bench = async ({ small }) => {
  const measure = small ? speeds(1, 30) : speeds(7, 300)
  const found: Array<readonly [string, Speeds]> = []
  const kinds = Object.keys(openers) as ReadonlyArray<Backend.Backend["kind"]>
  for (const kind of kinds) {
    const run = Effect.flatMap(openers[kind], (open) =>
      Effect.promise(() =>
        inDirectory(async (directory) => {
          const backend = await open(directory)
          return Effect.runPromise(Effect.provide(measure, Backend.layer(backend)))
        })
      )
    )
    const outcome = await Effect.runPromise(Effect.either(Effect.scoped(run)))
    if (Either.isRight(outcome)) found.push([kind, outcome.right])
    else process.stderr.write(`${outcome.left}\n`)
  }
  const table = (title: string, of: (s: Speeds) => ReadonlyArray<number>): Table => {
    const spreads = found.map(([name, s]) => [name, spread(of(s))] as const)
    const first = spreads[0]?.[1].median ?? Number.NaN
    return { title, unit: "a second", rows: spreads.map(([name, value]) => row(name, value, first)) }
  }
  return {
    tables: [
      table("Loads", (s) => s.load),
      table("Commits, each after a load", (s) => s.commit),
      table("Leases, taken and given back", (s) => s.lease)
    ],
    goals: []
  }
}
