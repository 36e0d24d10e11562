/**
 * What an operator sees. The session is that of the other examples. `Otlp.layerJson` sends everything that
 * Effect measures, traces and logs to a collector, including Latchkey's data.
 */
import { Otlp } from "@effect/opentelemetry"
import { FetchHttpClient } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import {
  RefreshLease,
  TokenConfig,
  type TokenEvent,
  TokenManager,
  TokenMetrics,
  TokenStorage
} from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { Fault, HostileServer } from "@latchkey/oauth/testing"
import { Effect, Layer, Logger, LogLevel, Stream } from "effect"
import * as Collector from "./Collector.js"

const Session = TokenManager.layer({ provider: "example", account: "ada" }).pipe(
  Layer.provide([TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()]),
  Layer.provide(RefreshToken.layer({ server: HostileServer.server, client: { clientId: "example" } })),
  Layer.provideMerge(HostileServer.layer())
)

/** The gauges of a grant that is watched by name: how old its token is, and how long it stays valid. */
const Gauges = TokenMetrics.layerSampled(TokenManager.TokenManager, {
  provider: "example",
  account: "ada",
  every: "20 millis"
})

const Telemetry = (url: string) =>
  Otlp.layerJson({
    baseUrl: url,
    resource: { serviceName: "latchkey-example" },
    shutdownTimeout: "30 seconds"
  }).pipe(Layer.provide(FetchHttpClient.layer))

/** A refresh that works, one that fails, and a grant that ends. */
const life = Effect.gen(function* () {
  const server = yield* HostileServer.HostileServer
  const manager = yield* TokenManager.TokenManager
  const events: Array<TokenEvent.TokenEvent["_tag"]> = []
  yield* Effect.forkScoped(
    Stream.runForEach(manager.events, ({ _tag }) => Effect.sync(() => events.push(_tag)))
  )
  yield* Effect.sleep("10 millis")
  const grant = yield* server.issueGrant()
  yield* manager.save(grant)
  yield* manager.refresh
  yield* server.plan([Fault.status(503)])
  yield* Effect.ignore(manager.refresh)
  yield* Effect.sleep("50 millis")
  return events
})

/** Every `"key":"value"` of a signal. */
const valuesOf = (bodies: ReadonlyArray<string>, key: string): ReadonlySet<string> =>
  new Set(
    bodies.flatMap((body) => [...body.matchAll(new RegExp(`"${key}":"([^"]+)"`, "g"))].map((m) => m[1]!))
  )

const program = Effect.gen(function* () {
  const collector = yield* Collector.start
  const events = yield* life.pipe(
    Effect.scoped,
    Effect.provide(
      Gauges.pipe(
        Layer.provideMerge(Session),
        Layer.provideMerge(Telemetry(collector.url)),
        // The collector has the logs. A program may keep its console logger too.
        Layer.provideMerge(Logger.remove(Logger.defaultLogger))
      )
    ),
    Logger.withMinimumLogLevel(LogLevel.Debug)
  )
  // The layers are closed, so everything has been sent.
  const metrics = [...valuesOf(collector.bodies("metrics"), "name")].filter((n) => n.startsWith("latchkey."))
  const spans = [...valuesOf(collector.bodies("traces"), "name")]
  const logs = [...valuesOf(collector.bodies("logs"), "stringValue")].filter((n) =>
    n.startsWith("latchkey: ")
  )
  console.log(`events   ${events.join(", ")}`)
  console.log(`metrics  ${metrics.sort().join("\n         ")}`)
  console.log(`spans    ${spans.join(", ")}`)
  console.log(`logs     ${logs.join(", ")}`)
  const all = (["metrics", "traces", "logs"] as const).flatMap(collector.bodies).join("\n")
  const hasSecret = all.includes("hostile-access") || all.includes("hostile-refresh")
  console.log(`secrets  ${hasSecret ? "FOUND" : "none, in any of them"}`)
  return (
    !hasSecret &&
    all.includes('"error.type"') &&
    ["latchkey.events", "latchkey.refresh.duration", "latchkey.token.age"].every((m) =>
      metrics.includes(m)
    ) &&
    spans.includes("latchkey.refresh") &&
    logs.includes("latchkey: RefreshFailed") &&
    events.includes("CoolingDown")
  )
})

NodeRuntime.runMain(
  program.pipe(
    Effect.scoped,
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1)))
  ),
  { disablePrettyLogger: true }
)
