/**
 * A program with its own manager, which its parent stops, or which blocks, while the token server responds.
 */
import {
  Credentials,
  Entry,
  RefreshLease,
  RotationPolicy,
  TokenConfig,
  TokenManager,
  TokenStorage
} from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { Effect, Layer, Option, Redacted } from "effect"
import { clients } from "../Clients.js"

export interface Job {
  readonly client: string
  readonly endpoint: string
  /** Whether the server lets a spent refresh token be repeated: then the request is given up at its time-out. */
  readonly window: boolean
  readonly refreshToken: string
  /** In milliseconds. */
  readonly leaseTtl: number
}

/** To be done, and what came of it. */
export type Order = { readonly do: "refresh" } | { readonly do: "block"; readonly millis: number }
export type Outcome = { readonly token: string } | { readonly error: string }

/** Fifty times as fast as the default. */
const timeout = 600

const job = JSON.parse(process.argv[2] ?? "{}") as Job
const [, client] = clients.find(([name]) => name === job.client)!
const now = Date.now()
const first = Credentials.make({
  accessToken: "at-0",
  refreshToken: job.refreshToken,
  obtainedAt: now,
  expiresAt: now + 3_600_000
})

await Effect.gen(function* () {
  const storage = yield* TokenStorage.makeMemory(Option.some(Entry.first(first)))
  const services = Layer.mergeAll(
    Layer.succeed(TokenStorage.TokenStorage, storage),
    RefreshLease.layerProcess,
    TokenConfig.layer({ refreshTimeout: timeout, leaseTtl: job.leaseTtl, leaseWait: 900, coolDownBase: 20 }),
    RefreshToken.layer({
      server: { tokenEndpoint: job.endpoint },
      client: { clientId: "app" },
      timeout,
      rotation: RotationPolicy.rotating(job.window ? "1 hour" : 0)
    })
  )
  const manager = yield* Effect.provide(TokenManager.make(), services)
  const refresh = Effect.match(manager.refresh, {
    onSuccess: (token): Outcome => ({ token: Redacted.value(token) }),
    onFailure: (error): Outcome => ({ error: `${error.reason}: ${error.message}` })
  })
  return yield* Effect.async<never>(() => {
    process.on("message", (order: Order) => {
      if (order.do === "refresh") void Effect.runPromise(refresh).then((outcome) => process.send?.(outcome))
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, order.millis)
    })
    process.on("disconnect", () => process.exit(0))
    process.send?.({ token: "ready" } satisfies Outcome)
  })
}).pipe(Effect.provide(client), Effect.scoped, Effect.runPromise)
