/**
 * A program that is not written in Effect: a layer is built once, its door is handed out, and the HTTP client
 * that is there already is given its tokens. Each of them meets a fresh token and one that the API refuses.
 */
import {
  PromiseDoor,
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
  // In memory; in a program `FetchHttpClient.layer` is in its place, and `PromiseDoor.open` is all it takes.
  Layer.provideMerge(HostileServer.layer()),
  Layer.provide(Logger.minimumLogLevel(LogLevel.Error))
)

const runtime = ManagedRuntime.make(Session)
const issueGrant = Effect.flatMap(HostileServer.HostileServer, (server) => server.issueGrant())

/** Enough of axios to run its interceptors: a request, and an error for what is not 2xx. */
const axiosOver = (door: PromiseDoor.Door, origin: string) => {
  const send = async (config: Config & { readonly headers: Headers }): Promise<number> => {
    const { headers } = await attach(door, origin)(config)
    const { status } = await fetch(config.url ?? origin, { headers })
    return status < 300 ? status : replace(door, send)({ config, response: { status } })
  }
  return (url: string) => send({ url, headers: new Headers() })
}

const main = async (): Promise<boolean> => {
  const api = await Api.start()
  const door = await PromiseDoor.fromRuntime(runtime)
  const { origin } = api
  const clients: Record<string, () => Promise<number>> = {
    fetch: async () => (await fetchWith(door, origin)(origin)).status,
    undici: async () => (await requestWith(door, origin)(new URL(origin))).statusCode,
    "axios interceptors": () => axiosOver(door, origin)(origin)
  }
  const told: Array<boolean> = []
  const tell = (what: string, kept: boolean) => {
    told.push(kept)
    console.log(`${kept ? "ok  " : "NOT "} ${what}`)
  }
  for (const [name, call] of Object.entries(clients)) {
    await door.save(await runtime.runPromise(issueGrant))
    const fresh = await call()
    const token = await door.getAccessToken()
    api.refuse(token)
    const cured = await call()
    const replaced = (await door.getAccessToken()) !== token
    tell(
      `${name}: ${fresh}, and ${cured} after its token was refused`,
      fresh === 200 && cured === 200 && replaced
    )
  }
  const now = await door.getAccessToken()
  tell("googleapis' refresh handler has the token", (await refreshHandler(door)()).access_token === now)
  tell("an AI client's key function has the token", (await apiKey(door)()) === now)
  tell("a fresh token can be had without waiting", door.peekAccessToken() === now)

  await door.clear()
  const error: unknown = await door.getAccessToken().catch((e: unknown) => e)
  tell("an error is an instance of its class", error instanceof TokenError.ReauthorizationRequired)
  const left: unknown = await door.refresh({ signal: AbortSignal.abort() }).catch((e: unknown) => e)
  tell("a signal gives up waiting", left instanceof Error && left.name === "AbortError")
  api.close()
  return told.every(Boolean)
}

try {
  process.exitCode = (await main()) ? 0 : 1
} finally {
  await runtime.dispose()
}
