/** The cluster: runners that find each other, and share the shards, through one PostgreSQL. */
import { type RunnerAddress, type ShardingConfig } from "@effect/cluster"
import { NodeClusterSocket } from "@effect/platform-node"
import * as Postgres from "@latchkey/storage/Postgres"
import { Layer, Option, Redacted } from "effect"

/** Short, so that a dead runner is noticed within seconds. The defaults suit a real program. */
const shardingConfig = {
  shardsPerGroup: 50,
  shardLockExpiration: "6 seconds",
  shardLockRefreshInterval: "2 seconds",
  refreshAssignmentsInterval: "500 millis",
  entityMessagePollInterval: "1 second",
  runnerHealthCheckInterval: "1 second"
} satisfies Partial<ShardingConfig.ShardingConfig["Type"]>

const client = (database: string) => Postgres.layerClient({ url: Redacted.make(database), maxConnections: 5 })

export const layerRunner = (database: string, address: RunnerAddress.RunnerAddress) =>
  NodeClusterSocket.layer({
    storage: "sql",
    shardingConfig: { ...shardingConfig, runnerAddress: Option.some(address) }
  }).pipe(Layer.provide(client(database)))

/** Sends to the runners, and holds no shard. */
export const layerClient = (database: string) =>
  NodeClusterSocket.layer({ clientOnly: true, storage: "sql", shardingConfig }).pipe(
    Layer.provide(client(database))
  )
