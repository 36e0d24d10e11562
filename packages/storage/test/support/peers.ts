/** The optional peers that each module may import, by their names in each edition of Effect. */

export const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  index: [],
  Sql: ["@effect/sql"],
  Sqlite: ["@effect/experimental", "@effect/sql", "libsql"],
  Postgres: ["@effect/sql", "@effect/sql-pg", "pg"],
  Redis: ["ioredis"]
}

/** The page of the guide that has the install lines. */
export const page: string = "storages.md"
