/** A runner: it answers for the accounts of its shards. One of all runners renews the accounts of all. */
import { RunnerAddress, Singleton } from "@effect/cluster"
import { NodeRuntime } from "@effect/platform-node"
import { Renewer } from "@latchkey/core"
import { Effect, Layer, Logger, LogLevel } from "effect"
import * as Accounts from "../../many-accounts/src/Accounts.js"
import * as Account from "./Account.js"
import * as Cluster from "./Cluster.js"

const [instance = "", port = "", database = "", tokenEndpoint = ""] = process.argv.slice(2)

/*
 * On a host that is disconnected, a singleton may run for a while beside its successor. No account is renewed
 * twice because of that: the lease in storage works with and without a cluster.
 */
const Renewing = Singleton.make(
  "Renewer",
  Layer.launch(Renewer.layer({ every: "1 second", window: "2 seconds" }))
)

const Runner = Layer.merge(Account.layer, Renewing).pipe(
  Layer.provide(Cluster.layerRunner(database, RunnerAddress.make("127.0.0.1", Number(port)))),
  Layer.provide(Accounts.layer({ instance, database, tokenEndpoint }))
)

process.once("disconnect", () => process.exit(1))
NodeRuntime.runMain(
  Layer.build(Runner).pipe(
    Effect.andThen(Effect.sync(() => process.send?.("ready"))),
    Effect.andThen(Effect.never),
    Effect.scoped,
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
