/**
 * A process that uses the session: it requests a token repeatedly, and reports each one by its fingerprint.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Fingerprint, TokenManager } from "@latchkey/core"
import { Effect, Schedule } from "effect"
import { session } from "./Session.js"

const [issuer = "", file = ""] = process.argv.slice(2)

const ask = Effect.gen(function* () {
  const manager = yield* TokenManager.TokenManager
  const token = yield* manager.getAccessToken
  process.stdout.write(`${Fingerprint.of(token)}\n`)
})

NodeRuntime.runMain(
  ask.pipe(Effect.repeat(Schedule.spaced("50 millis")), Effect.provide(session({ issuer, file })))
)
