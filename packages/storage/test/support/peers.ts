/** The optional peers that each module may import, by their names in each edition of Effect. */

export const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  index: [],
  Sql: ["@effect/sql"],
  Sqlite: ["@effect/experimental", "@effect/sql", "libsql"],
  Postgres: ["@effect/sql", "@effect/sql-pg", "pg"],
  Redis: ["ioredis"]
}

/** What the guide says of the edition after the name of a module. */
export const edition: string = ""
