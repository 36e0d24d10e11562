/**
 * The script prints the user's name. If you start it in eight terminals at once when the token has expired,
 * it makes one refresh. The other seven wait for it and read what it wrote.
 *
 * Its settings come from the environment (`OAUTH_ISSUER`, `OAUTH_CLIENT_ID`, `OAUTH_CREDENTIALS_FILE`). The
 * grant comes from an earlier login into that file.
 */
import { FetchHttpClient } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { BearerClient } from "@latchkey/oauth"
import { Session } from "@latchkey/providers"
import { Config, Effect, Layer, Logger, LogLevel } from "effect"

const Api = Layer.unwrapEffect(
  Effect.map(Config.string("OAUTH_ISSUER"), (origin) => BearerClient.layer({ origins: [origin] }))
)

const script = Effect.gen(function* () {
  const client = yield* BearerClient.BearerClient
  const response = yield* client.get(`${yield* Config.string("OAUTH_ISSUER")}/me`)
  process.stdout.write(`${yield* response.text}\n`)
})

NodeRuntime.runMain(
  script.pipe(
    Effect.provide(
      Api.pipe(Layer.provideMerge(Session.layerConfig()), Layer.provideMerge(FetchHttpClient.layer))
    ),
    // One line for the user: the message of an error says what to do. Exit code 3 means "log in", 1
    // everything else.
    Effect.catchAll((error) =>
      Effect.sync(() => {
        process.stderr.write(`${error.message}\n`)
        process.exitCode = error._tag === "ReauthorizationRequired" ? 3 : 1
      })
    ),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
