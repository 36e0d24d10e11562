/** An account as an entity of the cluster: the runner that holds its shard answers every request. */
import { Entity, RunnerAddress } from "@effect/cluster"
import { Rpc } from "@effect/rpc"
import { TokenError, TokenManagers, TokenStorage } from "@latchkey/core"
import { Effect, Schema } from "effect"

export const Account = Entity.make("Account", [
  /*
   * The token travels from the runner to the client in clear text. Keep that network private, or give the
   * entity the calls that need the token. The message is not `Persisted`, so no token gets into the cluster's
   * tables.
   */
  Rpc.make("AccessToken", {
    success: Schema.Redacted(Schema.String),
    error: Schema.Union(
      TokenError.ReauthorizationRequired,
      TokenError.RefreshUnavailable,
      TokenError.GrantMismatch,
      TokenStorage.StorageError
    )
  }),
  Rpc.make("Runner", { success: RunnerAddress.RunnerAddress })
])

export const layer = Account.toLayer(
  Effect.gen(function* () {
    const managers = yield* TokenManagers.TokenManagers
    const { entityId } = yield* Entity.CurrentAddress
    const runner = yield* Entity.CurrentRunnerAddress
    return Account.of({
      // No account can make a setting wrong.
      AccessToken: () => Effect.catchTag(managers.getAccessToken(entityId), "ConfigError", Effect.die),
      Runner: () => Effect.succeed(runner)
    })
  }),
  // A manager accepts any number of concurrent callers.
  { concurrency: "unbounded" }
)
