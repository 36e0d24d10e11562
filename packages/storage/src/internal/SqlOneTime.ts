/** Values that can be taken once, in a table of their own, which is created on first use. */
import type { OneTimeStore } from "@latchkey/core/OneTimeStore"
import { millisOf } from "@latchkey/core/TokenConfig"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { pause } from "./KernelLock.js"
import { badTimeToLive, keyInUse } from "./OneTimeProblem.js"
import { type ServerProblem, toStorageError } from "./ServerProblem.js"
import { isRace } from "./SqlProblem.js"
import { type Session, textOf } from "./SqlSession.js"

/** How often a process removes the values that nobody took, in milliseconds. */
const pruneEvery = 60_000

/** Another process may create the same table. The loser of that race tries again. */
const attempts = 10

export const make = (session: Session): Context.Tag.Service<OneTimeStore> => {
  const { dialect, location, sql } = session
  const table = sql(session.tables.oneTime)
  const integer = sql.literal(dialect === "pg" ? "BIGINT" : "INTEGER")
  // Not a migration: processes of an earlier version share the other tables, and would refuse a newer format.
  const create = (left: number): Effect.Effect<void, ServerProblem> =>
    session
      .run(
        Effect.andThen(
          sql`CREATE TABLE IF NOT EXISTS ${table} (
            key TEXT NOT NULL PRIMARY KEY,
            value TEXT NOT NULL,
            expires ${integer} NOT NULL
          )`,
          sql`CREATE INDEX IF NOT EXISTS ${sql(`${session.tables.oneTime}_expires`)} ON ${table} (expires)`
        )
      )
      .pipe(
        Effect.asVoid,
        Effect.catchIf(
          (problem) => left > 0 && isRace(problem),
          () => Effect.andThen(pause(25), create(left - 1))
        )
      )
  let ready = false
  const ensure = Effect.suspend(() =>
    ready
      ? Effect.void
      : Effect.map(create(attempts), () => {
          ready = true
        })
  )
  let prunedAt = -Infinity
  const prune = Effect.gen(function* () {
    const at = yield* Clock.currentTimeMillis
    if (at - prunedAt < pruneEvery) return
    prunedAt = at
    const now = yield* session.now
    yield* session.run(sql`DELETE FROM ${table} WHERE expires <= ${now}`)
  })
  return {
    put: (key, value, timeToLive) =>
      Effect.gen(function* () {
        const millis = Math.ceil(millisOf(timeToLive))
        if (!(millis > 0 && Number.isSafeInteger(millis))) return yield* badTimeToLive(location)
        const fails = toStorageError("commit", location)
        yield* Effect.mapError(Effect.andThen(ensure, prune), fails)
        const now = yield* session.now
        const written = yield* Effect.mapError(
          session.run(
            sql`INSERT INTO ${table} (key, value, expires)
              VALUES (${key}, ${value}, ${now} + CAST(${millis} AS BIGINT))
              ON CONFLICT (key) DO NOTHING RETURNING expires`
          ),
          fails
        )
        if (written.length === 0) return yield* keyInUse(location)
      }),
    take: (key) =>
      Effect.gen(function* () {
        yield* ensure
        const now = yield* session.now
        // One statement: of several callers, one gets the row.
        const [row] = yield* session.run(
          sql<Record<"value" | "live", unknown>>`DELETE FROM ${table} WHERE key = ${key}
            RETURNING ${session.bytes(sql("value"))} AS value, CASE WHEN expires > ${now} THEN 1 ELSE 0 END AS live`
        )
        return row !== undefined && Number(row.live) === 1 ? Option.some(textOf(row.value)) : Option.none()
      }).pipe(Effect.mapError(toStorageError("remove", location)))
  }
}
