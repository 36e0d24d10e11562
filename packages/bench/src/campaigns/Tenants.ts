/** A product's accounts in one store: put there at once, read by all, renewed at a server of the campaign's own. */
import { RefreshError } from "@latchkey/core/TokenRefresher"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Agent, request } from "node:http"
import { type Backend, dieOfConfiguration } from "./Backend.js"

export const lifetime = 3_600_000

/** How many refreshes one process of a fleet has under way at the server. */
export const placesAtServer = 2

/** Names of the length of a UUID. */
export const accountsOf = (backend: Backend, n: number): ReadonlyArray<string> =>
  Array.from({ length: n }, (_, i) => accountOf(backend, i))

const accountOf = ({ account }: Backend, i: number): string =>
  inOnePiece(`${account.slice(-6)}-${String(i).padStart(29, "0")}`)

/** As a parser would give it: pieces put together take four times the memory. */
const inOnePiece = (text: string): string => Buffer.from(text).toString()

/** Storages and leases of all accounts, with one client; memory begins with what is in it. */
export const layer = (
  backend: Backend,
  maxConnections: number,
  inMemory: Iterable<readonly [account: string, entry: Entry.Entry]> = []
): Layer.Layer<TokenStorages.TokenStorages | RefreshLease.RefreshLease, StorageError> =>
  dieOfConfiguration(
    Layer.unwrapEffect(
      Effect.promise(async () => {
        switch (backend.kind) {
          case "sqlite":
            return (await import("@latchkey/storage/Sqlite")).layerAccounts({ filename: backend.location })
          case "postgres":
            return (await import("@latchkey/storage/Postgres")).layerAccounts({
              client: { url: Redacted.make(backend.location), maxConnections }
            })
          case "redis":
            return (await import("@latchkey/storage/Redis")).layerAccounts({ server: backend.location })
          case "memory":
            return Layer.merge(
              Layer.effect(TokenStorages.TokenStorages, TokenStorages.makeMemory(inMemory)),
              RefreshLease.layerProcess
            )
          case "file":
            throw new Error("A file holds one account.")
        }
      })
    )
  )

/** Tokens of 64 characters, opaque to all but the server here: the account, and the generation. */
const tokenOf = (kind: "at" | "rt", account: string, generation: number): string =>
  inOnePiece(`${kind}.${account}.${generation}.`.padEnd(64, "x"))

const credentialsOf = (
  account: string,
  generation: number,
  now: number,
  life = lifetime
): Credentials.Credentials =>
  Credentials.make({
    accessToken: tokenOf("at", account, generation),
    refreshToken: tokenOf("rt", account, generation),
    obtainedAt: now,
    expiresAt: now + life,
    scopes: ["openid", "offline_access"]
  })

/** What a refresh token says. */
export const redeemed = (refreshToken: string): { readonly account: string; readonly generation: number } => {
  const [, account = "", generation = ""] = refreshToken.split(".")
  return { account, generation: Number(generation) }
}

const answered = (refreshToken: string): Effect.Effect<Credentials.Credentials> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const { account, generation } = redeemed(refreshToken)
    return credentialsOf(account, generation + 1, now)
  })

/** Answers at once, in this process: where a server would be the limit. `told` counts. */
export const inMemory = (told: (account: string) => void) =>
  TokenRefresher.make({
    rotation: TokenRefresher.rotating(),
    refresh: (_, refreshToken) => {
      told(redeemed(Redacted.value(refreshToken)).account)
      return answered(Redacted.value(refreshToken))
    }
  })

/** Asks the campaign's server, which rotates and lets the predecessor be replayed for a minute. */
export const atServer = (port: number) => {
  const agent = new Agent({ keepAlive: true })
  const post = (refreshToken: string) =>
    new Promise<number>((resolve, reject) => {
      const outgoing = request({ port, host: "127.0.0.1", method: "POST", agent }, (response) => {
        response.resume().once("end", () => resolve(response.statusCode ?? 0))
      })
      outgoing.once("error", reject)
      outgoing.end(refreshToken)
    })
  return TokenRefresher.make({
    rotation: TokenRefresher.rotating("1 minute"),
    refresh: (_, refreshToken) =>
      Effect.tryPromise({
        try: () => post(Redacted.value(refreshToken)),
        catch: () => new RefreshError({ reason: "MaybeSent", message: "The connection broke." })
      }).pipe(
        Effect.flatMap((status) =>
          status === 200
            ? answered(Redacted.value(refreshToken))
            : new RefreshError({ reason: "GrantDead", message: "It was refused." })
        )
      )
  })
}

/**
 * Puts all accounts into the store, logged in now: one through the storage, the others as copies of its row
 * under their own names, since nobody logs in a hundred thousand users at once. Those after the first `due` have
 * tokens that live for ten days more.
 */
export const seed = (backend: Backend, n: number, now: number, due = n): Effect.Effect<void, unknown> =>
  backend.kind === "memory"
    ? Effect.void
    : Effect.scoped(
        Effect.gen(function* () {
          const template = accountOf(backend, 0)
          const storages = Context.get(yield* Layer.build(layer(backend, 1)), TokenStorages.TokenStorages)
          const first = Either.getOrThrow(storages.of(template))
          yield* first.commit(Entry.first(credentialsOf(template, 1, now)), Option.none())
          yield* copy(backend, template, n, due, String(now + lifetime))
        })
      )

/** What memory begins with, where that is the backend: as {@link seed} puts it into the others. */
export function* inMemoryOf(
  backend: Backend,
  n: number,
  now: number,
  due: number
): Generator<readonly [account: string, entry: Entry.Entry]> {
  if (backend.kind !== "memory") return
  for (let i = 0; i < n; i++) {
    const account = accountOf(backend, i)
    yield [account, Entry.first(credentialsOf(account, 1, now, i < due ? lifetime : lifetime + 864_000_000))]
  }
}

const copy = (
  backend: Backend,
  template: string,
  n: number,
  due: number,
  expiry: string
): Effect.Effect<void, unknown> => {
  const later = String(Number(expiry) + 864_000_000)
  const expiring = `CASE WHEN i < ${due} THEN '${expiry}' ELSE '${later}' END`
  const names = (digits: string) => `'${template.slice(0, -29)}' || ${digits}`
  switch (backend.kind) {
    case "sqlite":
      return Effect.scoped(
        Effect.gen(function* () {
          const { layerClient } = yield* Effect.promise(() => import("@latchkey/storage/Sqlite"))
          const client = yield* Layer.build(layerClient({ filename: backend.location }))
          const name = names("substr('00000000000000000000000000000' || i, -29)")
          yield* Context.get(client, SqlClient.SqlClient).unsafe(
            `INSERT INTO latchkey_entries
            SELECT ${name}, version, fence, replace(replace(record, '${template}', ${name}), '${expiry}', ${expiring})
            FROM latchkey_entries, (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${n}) SELECT i FROM n)
            WHERE account = '${template}' AND ${n} > 1`
          )
        })
      )
    case "postgres":
      return Effect.scoped(
        Effect.gen(function* () {
          const { layerClient } = yield* Effect.promise(() => import("@latchkey/storage/Postgres"))
          const client = yield* Layer.build(layerClient({ url: Redacted.make(backend.location) }))
          const name = names("lpad(i::text, 29, '0')")
          yield* Context.get(client, SqlClient.SqlClient).unsafe(
            `INSERT INTO latchkey_entries
            SELECT ${name}, version, fence, replace(replace(record, '${template}', ${name}), '${expiry}', ${expiring})
            FROM latchkey_entries, generate_series(1, ${n - 1}) AS i WHERE account = '${template}'`
          )
        })
      )
    case "redis":
      return Effect.promise(async () => {
        const { Redis } = await import("ioredis")
        const client = new Redis(backend.location)
        const held = await client.hgetall(`latchkey:{${template}}`)
        for (let from = 1; from < n; from += 1000) {
          const pipeline = client.pipeline()
          for (let i = from; i < Math.min(n, from + 1000); i++) {
            const name = accountOf(backend, i)
            const record = held["record"]!.replaceAll(template, name).replace(
              expiry,
              i < due ? expiry : later
            )
            pipeline.hset(`latchkey:{${name}}`, { ...held, record })
          }
          await pipeline.exec()
        }
        client.disconnect()
      })
    case "memory":
      return Effect.void
    case "file":
      return Effect.die("A file holds one account.")
  }
}
