/** Starts what a backend needs, once for a campaign, and opens a separate store for each part of it. */
import type { Scope } from "effect/Scope"
import * as Effect from "effect/Effect"
import { basename, join } from "node:path"
import { type Program, postgres, redis } from "../../../../.ci/programs.js"
import * as RedisServer from "../../../storage/test/support/RedisServer.js"
import * as PostgresServer from "../../../storage/test/support/PostgresServer.js"
import type { Backend } from "./Backend.js"

/** Creates a store in, or named after, an empty directory. */
export type Open = (directory: string) => Promise<Backend>

const inFile = (kind: "file" | "sqlite", name: string) =>
  Effect.succeed<Open>(async (directory) => ({ kind, location: join(directory, name), account: "campaign" }))

const atServer = (
  kind: "postgres" | "redis",
  program: Program,
  server: Effect.Effect<{ readonly url: string }, never, Scope>
): Effect.Effect<Open, string, Scope> =>
  Effect.suspend(() =>
    program.missing === undefined
      ? Effect.map(server, ({ url }): Open => async (directory) => ({
          kind,
          location: url,
          account: basename(directory)
        }))
      : Effect.fail(program.missing)
  )

export const openers: Readonly<Record<Backend["kind"], Effect.Effect<Open, string, Scope>>> = {
  memory: Effect.succeed(async () => ({ kind: "memory", location: "", account: "memory" })),
  file: inFile("file", "credentials.json"),
  sqlite: inFile("sqlite", "credentials.db"),
  postgres: atServer("postgres", postgres, PostgresServer.make),
  redis: atServer("redis", redis, RedisServer.make())
}

/** Uses a backend while its server runs. Skips one that has no server here, with the reason. */
export const using = <A>(
  kind: string,
  use: (open: Open) => Promise<A>
): Promise<A | { readonly skipped: string }> =>
  Effect.flatMap(openers[kind as Backend["kind"]], (open) => Effect.promise(() => use(open))).pipe(
    Effect.scoped,
    Effect.catchAll((skipped) => Effect.succeed({ skipped })),
    Effect.runPromise
  )
