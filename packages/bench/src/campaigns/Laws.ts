/**
 * `laws`: random histories on each storage through two handles. The reference model of the law suite judges
 * each step (invariant 10).
 */
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { NodeContext } from "@effect/platform-node"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Encrypted from "@latchkey/storage/Encrypted"
import * as EncryptionKeys from "@latchkey/storage/EncryptionKeys"
import * as File from "@latchkey/storage/File"
import * as KeyValue from "@latchkey/storage/KeyValue"
import * as Postgres from "@latchkey/storage/Postgres"
import * as Redis from "@latchkey/storage/Redis"
import * as Sql from "@latchkey/storage/Sql"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { HistoryLaws, type StorageLaws } from "@latchkey/storage/testing"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Scope } from "effect/Scope"
import { join } from "node:path"
import * as Campaign from "./Campaign.js"
import { openers } from "./Opener.js"

/** Two handles on an unused store. */
type Make = Effect.Effect<StorageLaws.Stores, unknown, Scope>

/** Each is opened once, in its own directory. The result makes a store for each history. */
type Suite = (directory: string) => Effect.Effect<Make, unknown, Scope>

let serial = 0
const account = Effect.sync(() => `${++serial}@example.com`)

/** The same storage twice, each opened separately. */
const twice = <E, R>(open: Effect.Effect<StorageLaws.Stores["first"], E, R>) =>
  Effect.all({ first: open, second: open })

const file = (directory: string) =>
  Effect.sync(() => File.make({ path: join(directory, `${++serial}`, "credentials.json") }))

/** Two connections to one database, which all histories share. Each history has its own account. */
const database = <R, E, E2>(
  connection: Layer.Layer<R, E>,
  open: (account: string) => Effect.Effect<{ readonly storage: StorageLaws.Stores["first"] }, E2, R>
): Effect.Effect<Make, E, Scope> =>
  Effect.gen(function* () {
    const [first, second] = yield* Effect.replicateEffect(Layer.build(Layer.fresh(connection)), 2)
    return Effect.flatMap(account, (name) =>
      Effect.all({
        first: Effect.provide(
          Effect.map(open(name), (opened) => opened.storage),
          first!
        ),
        second: Effect.provide(
          Effect.map(open(name), (opened) => opened.storage),
          second!
        )
      })
    )
  })

const sql = (name: string) => Sql.make({ account: name })

/** The location of a server that is started for the campaign. */
const server = (kind: "postgres" | "redis", directory: string) =>
  Effect.flatMap(openers[kind], (open) => Effect.promise(() => open(directory)))

const suites: Readonly<Record<string, Suite>> = {
  memory: () =>
    Effect.succeed(Effect.map(TokenStorage.makeMemory(), (store) => ({ first: store, second: store }))),
  file: (directory) =>
    Effect.succeed(
      Effect.flatMap(file(directory), (open) => twice(Effect.map(open, ({ storage }) => storage)))
    ),
  encrypted: (directory) =>
    Effect.map(
      Effect.flatMap(EncryptionKeys.generate, (key) => EncryptionKeys.make([key])),
      (keys) =>
        Effect.flatMap(file(directory), (open) =>
          twice(
            Effect.flatMap(open, ({ storage }) =>
              Encrypted.make(storage, { provider: "example", account: "me" })
            )
          )
        ).pipe(Effect.provideService(EncryptionKeys.EncryptionKeys, keys))
    ),
  keyvalue: (directory) =>
    Effect.succeed(
      Effect.suspend(() => {
        const store = KeyValueStore.layerFileSystem(join(directory, `${++serial}`))
        return Effect.provide(
          twice(KeyValue.make({ key: "credentials" })),
          Layer.provide(store, NodeContext.layer)
        )
      })
    ),
  sqlite: (directory) => database(Sqlite.layerClient({ filename: join(directory, "credentials.db") }), sql),
  redis: (directory) =>
    Effect.flatMap(server("redis", directory), ({ location }) =>
      database(Redis.layerConnection({ server: location }), (name) => Redis.make({ account: name }))
    ),
  postgres: (directory) =>
    Effect.flatMap(server("postgres", directory), ({ location }) =>
      database(Postgres.layerClient({ url: Redacted.make(location), maxConnections: 4 }), sql)
    )
}

/** Runs one of the above. The keychain's histories run in the tests, in a session of their own. */
export const run = (
  store: string,
  histories: number,
  seed: number
): Promise<Campaign.Figures | { readonly skipped: string }> =>
  Campaign.inDirectory(async (directory) => {
    const began = performance.now()
    const played = Effect.gen(function* () {
      const make = yield* suites[store]!(directory)
      const [law] = HistoryLaws.laws({ make, histories, seed })
      yield* law!.effect
    })
    const outcome = await Effect.runPromise(Effect.either(Effect.scoped(played)))
    // A backend without a server here returns the reason.
    if (Either.isLeft(outcome) && typeof outcome.left === "string") return { skipped: outcome.left }
    return {
      histories,
      seconds: Math.round((performance.now() - began) / 1000),
      broken: Either.isLeft(outcome) ? [String(outcome.left)] : []
    }
  })
