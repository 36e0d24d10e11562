/** The jobs of a separate process on a store. It reports on its standard output, one JSON value a line. */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Fibers } from "@latchkey/core/internal-api"
import * as fs from "node:fs"
import { account, manage, type Store } from "./manageJob.js"

export { account, type Store }

/** `path`: the store, or what is named like it. */
export type Job = { readonly path: string } & (
  | { readonly do: "load"; readonly uid: number }
  | { readonly do: "commit"; readonly uid: number }
  | { readonly do: "write" }
  | { readonly do: "increment"; readonly times: number }
  | { readonly do: "hold"; readonly ttl: number; readonly uid?: undefined }
  | { readonly do: "manage"; readonly endpoint: string; readonly failing: number; readonly uid?: undefined }
  | { readonly do: "contend"; readonly times: number; readonly ttl: number }
)

const say = (value: unknown): void => {
  fs.writeSync(1, `${JSON.stringify(value)}\n`)
}

const pad = "x".repeat(4_000)

/** Generations mark the writes; the padding makes a torn one likely to show. */
const generation = (n: number, fence = 0): Entry.Entry =>
  new Entry.Entry({
    ...Entry.first(Credentials.make({ accessToken: `${n}-${pad}`, refreshToken: `${n}` })),
    generation: n,
    fence
  })

const next = (store: Store, fence = 0) =>
  Effect.gen(function* () {
    const loaded = yield* store.storage.load
    const n = Option.match(loaded, { onNone: () => 1, onSome: ({ entry }) => entry.generation + 1 })
    yield* store.storage.commit(
      generation(n, fence),
      Option.map(loaded, ({ version }) => version)
    )
    return n
  })

const run = (job: Job, store: Store) =>
  Effect.gen(function* () {
    switch (job.do) {
      case "load": {
        process.setuid?.(job.uid)
        const loaded = yield* Effect.either(store.storage.load)
        return say(Either.isLeft(loaded) ? loaded.left : Option.isSome(loaded.right))
      }
      case "commit": {
        process.setuid?.(job.uid)
        const done = yield* Effect.either(store.storage.commit(generation(1), Option.none()))
        return say(Either.isLeft(done) ? done.left : true)
      }
      case "write":
        for (;;) say(yield* next(store))
      case "increment":
        for (let done = 0; done < job.times;) {
          const outcome = yield* Effect.either(next(store))
          if (Either.isRight(outcome)) done++
          else if (outcome.left._tag === "StorageError") return yield* outcome.left
        }
        return
      case "hold": {
        const { fence } = yield* store.lease.acquire(account, job.ttl)
        const loaded = yield* store.storage.load
        say({ fence })
        // The parent stops this process here, and continues it when the lease is another's.
        yield* Effect.promise(() => new Promise((resolve) => process.stdin.once("data", resolve)))
        const expected = Option.map(loaded, ({ version }) => version)
        const late = yield* Effect.either(store.storage.commit(generation(1, fence), expected))
        return say(Either.isLeft(late) ? late.left : "committed")
      }
      case "manage": {
        const manager = yield* manage(store, job.endpoint, job.failing)
        say(Redacted.value(yield* manager.getAccessToken))
        yield* Effect.promise(() => new Promise((resolve) => process.stdin.once("data", resolve)))
        return
      }
      case "contend":
        for (let done = 0; done < job.times;) {
          const turn = Effect.gen(function* () {
            const { fence } = yield* store.lease.acquire(account, job.ttl)
            // Exclusive by itself: it fails where another holder is inside.
            const marker = `${job.path}.inside`
            fs.closeSync(fs.openSync(marker, "wx"))
            yield* next(store, fence)
            fs.unlinkSync(marker)
            return fence
          })
          const outcome = yield* Effect.either(Effect.scoped(turn))
          if (Either.isRight(outcome)) {
            say(outcome.right)
            done++
          } else if (outcome.left._tag === "LeaseError" && outcome.left.reason === "Busy") {
            yield* Effect.sleep("5 millis")
          } else return yield* outcome.left
        }
        return
    }
  })

/** Does the job that came as JSON in the first argument, on the store that it names. */
export const main = async <J extends Job, E>(
  open: (job: J) => Effect.Effect<Store, E, Scope.Scope>
): Promise<never> => {
  const job = JSON.parse(process.argv[2] ?? "") as J
  const work = Effect.flatMap(open(job), (store) => run(job, store))
  await Effect.runPromise(Effect.withClock(Effect.scoped(work), Fibers.systemClock))
  process.exit(0)
}
