/**
 * Very many accounts in one store: their names and tokens, a fast way to create them, and a check of the
 * store afterwards.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import type * as RefreshLease from "@latchkey/core/RefreshLease"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { type Backend, dieOfConfiguration } from "./Backend.js"
import { wallClock } from "./Campaign.js"

/**
 * Accounts `name_00000000` to n-1, with due times spread over `from` to `to`. The name begins with the name
 * of their server.
 */
export interface Block {
  readonly name: string
  readonly n: number
  readonly from: number
  readonly to: number
}

const accountOf = ({ name }: Block, i: number): string => `${name}_${String(i).padStart(8, "0")}`

/** Not in the order of the names. `seedSql` and `seedScript` compute the same. */
const dueOf = ({ from, n, to }: Block, i: number): number =>
  from + Math.floor((((i * 7919) % n) * (to - from)) / n)

export const serverOf = (account: string): string => account.split("_")[0] ?? ""
export const blockOf = (account: string): string => account.slice(0, account.lastIndexOf("_"))

/** The contents of a token, for the campaign's server only. The access token is as long as a small JWT. */
export interface Token {
  readonly account: string
  readonly generation: number
  readonly expiresAt: number
}

export const tokenOf = (kind: "at" | "rt", { account, expiresAt, generation }: Token): string =>
  `${kind}.${account}.${generation}.${expiresAt}.`.padEnd(kind === "at" ? 512 : 64, "x")

export const readToken = (text: string): Token => {
  const [, account = "", generation, expiresAt] = text.split(".")
  return { account, generation: Number(generation), expiresAt: Number(expiresAt) }
}

export const credentialsOf = (token: Token, obtainedAt: number): Credentials.Credentials =>
  Credentials.make({
    accessToken: tokenOf("at", token),
    refreshToken: tokenOf("rt", token),
    obtainedAt,
    expiresAt: token.expiresAt
  })

type Services = TokenStorages.TokenStorages | RefreshLease.RefreshLease

/** The storages and leases of all accounts, opened as a product opens them. */
export const layer = ({ kind, location }: Backend): Layer.Layer<Services, StorageError> =>
  dieOfConfiguration(
    Layer.unwrapEffect(
      Effect.promise(async () => {
        switch (kind) {
          case "sqlite":
            return (await import("@latchkey/storage/Sqlite")).layerAccounts({ filename: location })
          case "postgres":
            return (await import("@latchkey/storage/Postgres")).layerAccounts({
              client: { url: Redacted.make(location), maxConnections: 20 }
            })
          case "redis":
            return (await import("@latchkey/storage/Redis")).layerAccounts({ server: location })
          default:
            return Layer.die(`${kind} keeps no accounts that processes share`)
        }
      })
    )
  )

/** Fills the store with copies of the block's first account, which the library has written. */
export const seed = (backend: Backend, block: Block) =>
  Effect.gen(function* () {
    const storages = yield* TokenStorages.TokenStorages
    const token = { account: accountOf(block, 0), generation: 1, expiresAt: block.from }
    const storage = yield* storages.of(token.account)
    const obtainedAt = Math.min(block.from, Math.round(wallClock())) - 3_600_000
    yield* storage.commit(Entry.first(credentialsOf(token, obtainedAt)), Option.none())
    if (block.n > 1) yield* backend.kind === "redis" ? copyInRedis(backend, block) : copyInSql(backend, block)
    // Records written directly must equal those that the library would have written.
    for (const i of new Set([0, 1, Math.floor(block.n / 2), block.n - 1])) {
      const expected = { account: accountOf(block, i), generation: 1, expiresAt: dueOf(block, i) }
      const found = yield* Effect.flatMap(storages.of(expected.account), ({ load }) => load)
      const entry = Option.map(found, (loaded) => loaded.entry.credentials)
      const right = Option.exists(
        entry,
        ({ accessToken, expiresAt }) =>
          Redacted.value(accessToken) === tokenOf("at", expected) &&
          Option.getOrNull(expiresAt) === expected.expiresAt
      )
      if (!right) return yield* Effect.dieMessage(`${expected.account} was not seeded as it should be`)
    }
  })

const copyInSql = ({ kind, location }: Backend, block: Block) => {
  const { from, n, name, to } = block
  const first = accountOf(block, 0)
  const copies = `
    INSERT INTO latchkey_entries (account, version, fence, record, state, due)
    WITH RECURSIVE series(i) AS (
      SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM series WHERE i < ${n - 1}
    ), copies AS (
      SELECT '${name}_' || substr(CAST(100000000 + i AS TEXT), 2) AS account,
        CAST(${from} AS BIGINT) + ((i * 7919) % ${n}) * ${to - from} / ${n} AS due
      FROM series
    )
    SELECT c.account, t.version, t.fence,
      replace(replace(t.record, '${first}', c.account), '${from}', CAST(c.due AS TEXT)), t.state, c.due
    FROM copies AS c JOIN latchkey_entries AS t ON t.account = '${first}'`
  const client = Layer.unwrapEffect(
    Effect.promise(async () =>
      kind === "sqlite"
        ? (await import("@latchkey/storage/Sqlite")).layerClient({ filename: location })
        : (await import("@latchkey/storage/Postgres")).layerClient({ url: Redacted.make(location) })
    )
  )
  return SqlClient.SqlClient.pipe(
    Effect.tap((sql) => sql.unsafe(copies)),
    Effect.tap((sql) =>
      sql.unsafe(kind === "sqlite" ? "PRAGMA optimize" : "VACUUM ANALYZE latchkey_entries")
    ),
    Effect.provide(client)
  )
}

const copyScript = `
local first, name, from, span, n = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local fields = redis.call('HGETALL', 'latchkey:{' .. first .. '}')
for i = tonumber(ARGV[6]), tonumber(ARGV[7]) do
  local account = string.format('%s_%08d', name, i)
  local due = string.format('%.0f', from + math.floor(((i * 7919) % n) * span / n))
  local copy = {}
  for at, value in ipairs(fields) do
    copy[at] = string.gsub(string.gsub(value, first, account), ARGV[3], due)
  end
  redis.call('HSET', 'latchkey:{' .. account .. '}', unpack(copy))
  redis.call('ZADD', KEYS[1], due, account)
  redis.call('ZADD', 'latchkey:accounts', 0, account)
end`

const copyInRedis = ({ location }: Backend, block: Block) =>
  Effect.gen(function* () {
    const { from, n, name, to } = block
    const { RedisConnection, layerConnection } = yield* Effect.promise(
      () => import("@latchkey/storage/Redis")
    )
    const starts = Array.from({ length: Math.ceil((n - 1) / 1000) }, (_, page) => page * 1000 + 1)
    const copy = Effect.flatMap(RedisConnection, ({ run }) =>
      Effect.forEach(
        starts,
        (i) => {
          const range = [i, Math.min(i + 999, n - 1)]
          return run(copyScript, "latchkey:due", [accountOf(block, 0), name, from, to - from, n, ...range])
        },
        { discard: true }
      )
    )
    yield* Effect.provide(copy, layerConnection({ server: location }))
  })

/** The accounts of a block that hold anything other than the successor of their first token. */
export const unsound = (block: Block) =>
  Effect.gen(function* () {
    const storages = yield* TokenStorages.TokenStorages
    const look = (i: number) =>
      Effect.gen(function* () {
        const storage = yield* storages.of(accountOf(block, i))
        const entry = Option.map(
          yield* Effect.option(storage.load),
          Option.map((found) => found.entry)
        )
        const isSound = Option.exists(
          Option.flatten(entry),
          ({ credentials, dead, intent }) =>
            readToken(Option.match(credentials.refreshToken, { onNone: () => "", onSome: Redacted.value }))
              .generation === 2 &&
            Option.isNone(dead) &&
            Option.isNone(intent)
        )
        return isSound ? 0 : 1
      })
    const indices = Array.from({ length: block.n }, (_, i) => i)
    const found = yield* Effect.forEach(indices, look, { concurrency: 128 })
    return found.reduce<number>((sum, one) => sum + one, 0)
  })

/**
 * The time for a page of 500 due accounts, the first one and one in the middle: median and p99 in
 * milliseconds.
 */
export const measureDue = ({ from, to }: Block, times: number) =>
  Effect.gen(function* () {
    const { due } = yield* TokenStorages.TokenStorages
    const measure = (after: TokenStorages.DueAccount | undefined) =>
      Effect.gen(function* () {
        const took: Array<number> = []
        for (let i = 0; i < times; i++) {
          const began = performance.now()
          yield* due({ before: to, limit: 500, after })
          took.push(performance.now() - began)
        }
        took.sort((a, b) => a - b)
        return [0.5, 0.99].map((share) => Math.round(took[Math.floor(times * share)]! * 100) / 100)
      })
    // The first pages find nothing in memory.
    yield* due({ before: to, limit: 500 })
    const middle = { account: "", dueAt: Math.round((from + to) / 2) }
    return { first: yield* measure(undefined), middle: yield* measure(middle) }
  })
