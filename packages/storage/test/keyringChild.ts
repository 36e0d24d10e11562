/**
 * A separate process in a separate session, because the client reads the bus's address once in its life. Runs
 * the checks of the named suites and reports their results, one JSON value a line.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fs from "node:fs"
import type * as Keyring from "@latchkey/storage/Keyring"
import { increment, type Suite, suites } from "./keyring.js"

const [what = "", options = ""] = process.argv.slice(2)

// Those who run suites keep its input open: it does not outlive them.
if (what !== "increment") process.stdin.on("end", () => process.exit(1)).resume()

const runSuite = (suite: Suite) =>
  Effect.andThen(
    suites[suite].before,
    Effect.forEach(
      suites[suite].checks,
      ({ name, effect }) =>
        Effect.map(Effect.exit(effect), (exit) => {
          const problem = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : undefined
          fs.writeSync(1, `${JSON.stringify({ name: `${suite}: ${name}`, problem })}\n`)
        }),
      { concurrency: 8, discard: true }
    )
  )

await Effect.runPromise(
  what === "increment"
    ? increment(JSON.parse(options) as Keyring.Options)
    : Effect.forEach(what.split(",") as Array<Suite>, runSuite, { discard: true })
)
process.exit(0)
