/**
 * One of the processes: it renews due accounts, whichever process saved them, and needs to know no other
 * process.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Renewer } from "@latchkey/core"
import { Effect, Layer, Logger, LogLevel } from "effect"
import * as Accounts from "./Accounts.js"

const [instance = "", database = "", tokenEndpoint = ""] = process.argv.slice(2)

const Renewing = Renewer.layer({ every: "500 millis", window: "2 seconds" }).pipe(
  Layer.provide(Accounts.layer({ instance, database, tokenEndpoint }))
)

process.once("disconnect", () => process.exit(1))
NodeRuntime.runMain(
  Layer.build(Renewing).pipe(
    Effect.andThen(Effect.sync(() => process.send?.("ready"))),
    Effect.andThen(Effect.never),
    Effect.scoped,
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
