/**
 * A process of `accounts` that renews due accounts. Its job is the first argument, as JSON. It reports its
 * state on request.
 */
import * as Renewer from "@latchkey/core/Renewer"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManagers from "@latchkey/core/TokenManagers"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"
import { Agent, request } from "node:http"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { job as given, say, told } from "../campaigns/Child.js"
import type { RenewingJob, RenewingReport } from "../campaigns/Accounts.js"
import * as AccountStore from "../campaigns/AccountStore.js"
import { wallClock } from "../campaigns/Campaign.js"

const { backend, options, port } = given as RenewingJob

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

const agent = new Agent({ keepAlive: true })
const post = (refreshToken: string) =>
  new Promise<string | undefined>((resolve, reject) => {
    const outgoing = request({ port, host: "127.0.0.1", method: "POST", agent }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk))
      response.once("end", () => resolve(response.statusCode === 200 ? body : undefined))
    })
    outgoing.once("error", reject)
    outgoing.end(refreshToken)
  })

const refresher = TokenRefresher.make({
  rotation: TokenRefresher.rotating("1 minute"),
  refresh: (_, refreshToken) =>
    Effect.tryPromise({
      try: () => post(Redacted.value(refreshToken)),
      catch: () => new TokenRefresher.RefreshError({ reason: "MaybeSent", message: "The connection broke." })
    }).pipe(
      Effect.flatMap((body) =>
        body === undefined
          ? new TokenRefresher.RefreshError({ reason: "GrantDead", message: "It was refused." })
          : Effect.succeed(JSON.parse(body) as { readonly refreshToken: string })
      ),
      Effect.map((next) =>
        AccountStore.credentialsOf(AccountStore.readToken(next.refreshToken), Math.round(wallClock()))
      )
    )
})

const program = Effect.gen(function* () {
  const renewer = yield* Renewer.Renewer
  say("ready")
  for (;;) {
    if ((yield* told).done === true) process.exit(0)
    const { failed, renewed } = yield* renewer.status
    // Freed memory returns to the system a moment later.
    yield* Effect.repeatN(Effect.delay(Effect.sync(collect), 100), 3)
    const { heapUsed, rss } = process.memoryUsage()
    const cpu = process.cpuUsage()
    say({
      renewed,
      failed,
      rss,
      heapUsed,
      cpuMillis: (cpu.user + cpu.system) / 1000
    } satisfies RenewingReport)
  }
})

const services = Layer.mergeAll(
  AccountStore.layer(backend),
  Layer.succeed(TokenRefresher.TokenRefresher, refresher),
  TokenConfig.layer()
)
const renewing = Renewer.layer(options).pipe(
  Layer.provide(TokenManagers.layerShared({ server: AccountStore.serverOf })),
  Layer.provide(services)
)
await Effect.runPromise(Effect.provide(program, renewing).pipe(Logger.withMinimumLogLevel(LogLevel.None)))
