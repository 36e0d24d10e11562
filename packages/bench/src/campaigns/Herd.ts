/**
 * `herd`: all callers of a process ask at the moment of expiry, at a real authorization server without any
 * window. One request, no error; and the same where some of them go away while they wait (invariant 4).
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Credentials from "@latchkey/core/Credentials"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { type RemoteServer, startServer } from "../Servers.js"
import { type Figures, random } from "./Campaign.js"

/** Who of a herd goes away while the refresh is under way. */
type Leaves = (caller: number) => boolean

/** One herd: what it cost, and what went wrong. */
const herd = (server: RemoteServer, callers: number, leaves: Leaves) =>
  Effect.gen(function* () {
    const manager = yield* TokenManager.TokenManager
    const refreshToken = yield* Effect.promise(server.login)
    yield* manager.save(Credentials.make({ accessToken: "expired", refreshToken, expiresAt: 1 }))
    const before = yield* Effect.promise(server.figures)
    const began = performance.now()
    const fibers = yield* Effect.forEach(Array.from({ length: callers }), () =>
      Effect.fork(manager.getAccessToken)
    )
    yield* Effect.yieldNow()
    for (const [caller, fiber] of fibers.entries()) if (leaves(caller)) yield* Fiber.interruptFork(fiber)
    const exits = yield* Effect.forEach(fibers, Fiber.await)
    const wall = performance.now() - began
    const after = yield* Effect.promise(server.figures)
    const stayed = exits.filter((_, caller) => !leaves(caller))
    const failed = stayed.filter(Exit.isFailure).length
    const tokens = new Set(stayed.filter(Exit.isSuccess).map((exit) => Redacted.value(exit.value)))
    const requests = after.requests - before.requests
    return {
      requests,
      failed,
      wall,
      broken: [
        ...(requests === 1 ? [] : [`${requests} requests for one expiry`]),
        ...(after.failed === before.failed ? [] : ["the server refused a request"]),
        ...(failed === 0 ? [] : [`${failed} callers failed`]),
        ...(tokens.size === 1 && !tokens.has("expired") ? [] : [`${tokens.size} tokens in one herd`])
      ]
    }
  })

export const run = async (callers: number, seed: number): Promise<Figures> => {
  const server = await startServer({ accessTokenTtl: 3600 })
  const draw = random(seed)
  const drawn = Array.from({ length: callers }, draw)
  const herds: Readonly<Record<string, Leaves>> = {
    "all stay": () => false,
    "the first leaves": (caller) => caller === 0,
    "half leave": (caller) => drawn[caller]! < 0.5,
    "one stays": (caller) => caller !== callers - 1
  }
  const session = TokenManager.layer().pipe(
    Layer.provide(
      RefreshToken.layer({ server: { issuer: server.issuer }, client: { clientId: "public-client" } })
    ),
    Layer.provide([
      TokenStorage.layerMemory,
      RefreshLease.layerProcess,
      TokenConfig.layer(),
      FetchHttpClient.layer
    ])
  )
  try {
    const told: Record<
      string,
      { readonly requests: number; readonly failed: number; readonly millis: number }
    > = {}
    const broken: Array<string> = []
    for (const [what, leaves] of Object.entries(herds)) {
      const one = await Effect.runPromise(Effect.provide(herd(server, callers, leaves), session))
      told[what] = { requests: one.requests, failed: one.failed, millis: Math.round(one.wall) }
      broken.push(...one.broken.map((problem) => `${what}: ${problem}`))
    }
    return { callers, herds: told, broken }
  } finally {
    server.stop()
  }
}
