/** Starts what a backend needs, once for a campaign, and opens a store of its own for each part of it. */
import type { Scope } from "effect/Scope"
import * as Effect from "effect/Effect"
import { basename, join } from "node:path"
import { postgres, redis } from "../../../../.ci/programs.js"
import * as RedisServer from "../../../storage/test/support/RedisServer.js"
import * as PostgresServer from "../../../storage/test/support/PostgresServer.js"
import type { Backend } from "./Backend.js"

/** A store in, or named after, an empty directory. */
export type Open = (directory: string) => Promise<Backend>

export const openers: Readonly<Record<Backend["kind"], Effect.Effect<Open, string, Scope>>> = {
  memory: Effect.succeed(async () => ({ kind: "memory", location: "", account: "memory" })),
  file: Effect.succeed(async (directory) => ({
    kind: "file",
    location: join(directory, "credentials.json"),
    account: "campaign"
  })),
  sqlite: Effect.succeed(async (directory) => ({
    kind: "sqlite",
    location: join(directory, "credentials.db"),
    account: "campaign"
  })),
  postgres: Effect.suspend(() =>
    postgres.missing === undefined
      ? Effect.map(PostgresServer.make, ({ url }): Open => async (directory) => ({
          kind: "postgres",
          location: url,
          account: basename(directory)
        }))
      : Effect.fail(postgres.missing)
  ),
  redis: Effect.suspend(() =>
    redis.missing === undefined
      ? Effect.map(RedisServer.make(), ({ url }): Open => async (directory) => ({
          kind: "redis",
          location: url,
          account: basename(directory)
        }))
      : Effect.fail(redis.missing)
  )
}
