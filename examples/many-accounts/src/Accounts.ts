/** The accounts of a program: all its processes share them, over one database. */
import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import {
  type Credentials,
  Entry,
  RotationPolicy,
  TokenConfig,
  TokenManagers,
  TokenStorages
} from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import * as Postgres from "@latchkey/storage/Postgres"
import { Clock, Duration, Effect, Either, Layer, Option, Redacted, Stream } from "effect"

export interface Options {
  /** A name of this process. Each process renews in its own order. */
  readonly instance: string
  readonly database: string
  readonly tokenEndpoint: string
  readonly refreshGrace?: TokenConfig.Options["refreshGrace"]
}

export const storages = (database: string) =>
  Postgres.layerAccounts({ client: { url: Redacted.make(database), maxConnections: 10 } })

export const layer = ({ database, instance, refreshGrace = "2 minutes", tokenEndpoint }: Options) =>
  TokenManagers.layerShared({ provider: "example" }).pipe(
    Layer.provide(
      RefreshToken.layer({
        server: { tokenEndpoint },
        client: { clientId: "example" },
        // As this server does it. A process that dies before it has a response costs no account: another one
        // repeats the request.
        rotation: RotationPolicy.rotating("30 seconds")
      })
    ),
    Layer.provideMerge(storages(database)),
    Layer.provideMerge(TokenConfig.layer({ instance, refreshGrace })),
    Layer.provide(httpClient(instance))
  )

/** Names the process to the token server, which counts its requests. */
const httpClient = (instance: string) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(
      HttpClient.HttpClient,
      HttpClient.mapRequest(HttpClientRequest.setHeader("user-agent", instance))
    )
  ).pipe(Layer.provide(FetchHttpClient.layer))

/** The row that a login leaves. A program writes it with `manager.save`. */
export const save = (account: string, credentials: Credentials.Credentials) =>
  Effect.gen(function* () {
    const storages = yield* TokenStorages.TokenStorages
    const storage = Either.getOrThrow(storages.of(account))
    yield* storage.commit(Entry.first(credentials), Option.none())
  })

/** How many accounts only their users can repair. */
export const loggedOut = Effect.gen(function* () {
  const { accounts } = yield* TokenStorages.TokenStorages
  return yield* Stream.runCount(Stream.filter(accounts(), ({ state }) => state !== "Renewable"))
})

/** How many are due within this time, or wait for the outcome of a refresh. At most a page of them. */
export const due = (within: Duration.DurationInput) =>
  Effect.gen(function* () {
    const storages = yield* TokenStorages.TokenStorages
    const before = (yield* Clock.currentTimeMillis) + Duration.toMillis(within)
    return (yield* storages.due({ before, limit: 100 })).length
  })
