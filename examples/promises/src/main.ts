/**
 * A program that does not use Effect: a layer is built once, and the existing HTTP clients get their tokens
 * from it as promises. Each of them meets a fresh token and one that the API refuses.
 */
import {
  PromiseManager,
  RefreshLease,
  TokenConfig,
  TokenError,
  TokenManager,
  TokenStorage
} from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { HostileServer } from "@latchkey/oauth/testing"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime } from "effect"
import { apiKey } from "./ai.js"
import * as Api from "./Api.js"
import { attach, type Config, replace } from "./axios.js"
import { fetchWith } from "./fetch.js"
import { refreshHandler } from "./google.js"
import { requestWith } from "./undici.js"

const Session = TokenManager.layer().pipe(
  Layer.provide([TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()]),
  Layer.provide(RefreshToken.layer({ server: HostileServer.server, client: { clientId: "example" } })),
  // In memory. A program uses `FetchHttpClient.layer` here, and needs only `PromiseManager.open`.
  Layer.provideMerge(HostileServer.layer()),
  Layer.provide(Logger.minimumLogLevel(LogLevel.Error))
)

const runtime = ManagedRuntime.make(Session)
const issueGrant = Effect.flatMap(HostileServer.HostileServer, (server) => server.issueGrant())

/** Enough of axios to run its interceptors: a request, and an error for every status except 2xx. */
const axiosOver = (tokens: PromiseManager.PromiseManager, origin: string) => {
  const send = async (config: Config & { readonly headers: Headers }): Promise<number> => {
    const { headers } = await attach(tokens, origin)(config)
    const { status } = await fetch(config.url ?? origin, { headers })
    return status < 300 ? status : replace(tokens, send)({ config, response: { status } })
  }
  return (url: string) => send({ url, headers: new Headers() })
}

const main = async (): Promise<boolean> => {
  const api = await Api.start()
  const tokens = await PromiseManager.fromRuntime(runtime)
  const { origin } = api
  const clients: Record<string, () => Promise<number>> = {
    fetch: async () => (await fetchWith(tokens, origin)(origin)).status,
    undici: async () => (await requestWith(tokens, origin)(new URL(origin))).statusCode,
    "axios interceptors": () => axiosOver(tokens, origin)(origin)
  }
  const reports: Array<boolean> = []
  const report = (what: string, kept: boolean) => {
    reports.push(kept)
    console.log(`${kept ? "ok  " : "NOT "} ${what}`)
  }
  for (const [name, call] of Object.entries(clients)) {
    await tokens.save(await runtime.runPromise(issueGrant))
    const fresh = await call()
    const token = await tokens.getAccessToken()
    api.refuse(token)
    const cured = await call()
    const replaced = (await tokens.getAccessToken()) !== token
    report(
      `${name}: ${fresh}, and ${cured} after its token was refused`,
      fresh === 200 && cured === 200 && replaced
    )
  }
  const now = await tokens.getAccessToken()
  report("googleapis' refresh handler has the token", (await refreshHandler(tokens)()).access_token === now)
  report("an AI client's key function has the token", (await apiKey(tokens)()) === now)
  report("a fresh token can be had without waiting", tokens.peekAccessToken() === now)

  await tokens.clear()
  const error: unknown = await tokens.getAccessToken().catch((e: unknown) => e)
  report("an error is an instance of its class", error instanceof TokenError.ReauthorizationRequired)
  const left: unknown = await tokens.refresh({ signal: AbortSignal.abort() }).catch((e: unknown) => e)
  report("a signal gives up waiting", left instanceof Error && left.name === "AbortError")
  api.close()
  return reports.every(Boolean)
}

try {
  process.exitCode = (await main()) ? 0 : 1
} finally {
  await runtime.dispose()
}
