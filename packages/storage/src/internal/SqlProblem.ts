/**
 * Classifies errors of a database client. Its own words are left out, because they may quote stored data.
 */
import type { StorageError } from "@latchkey/core/TokenStorage"
import { SqlError } from "@effect/sql/SqlError"
import { codeOf } from "./FileProblem.js"
import { ServerProblem } from "./ServerProblem.js"

type Sorted = readonly [StorageError["reason"], string]

const denied: Sorted = ["Denied", "the database user lacks a permission: grant it"]
const readOnly: Sorted = ["Denied", "it is read-only: connect to the primary, or make it writable"]
const full: Sorted = ["Denied", "its disk is full: make room"]
const login: Sorted = ["Denied", "it refused the login: correct the user, the password or the database name"]
const busy: Sorted = ["Unavailable", "another process keeps it locked: look for one that is stopped or hangs"]
const corrupt: Sorted = ["Malformed", "its file is damaged or not a database: restore it from a backup"]
const down: Sorted = ["Unavailable", "it cannot be reached: start it, or correct its address"]
const schema: Sorted = ["Malformed", "its tables were changed by something else: restore them from a backup"]
const other: Sorted = ["Unavailable", "try again later; if it continues, check the database's own log"]

/**
 * SQLSTATE codes or classes of PostgreSQL, result codes of SQLite, codes of the system. Longer ones come
 * first.
 */
const known: ReadonlyArray<readonly [prefix: string, sorted: Sorted]> = [
  ["25006", readOnly],
  ["28", login],
  ["3D", login],
  ["42501", denied],
  ["42P01", schema],
  ["42703", schema],
  ["53100", full],
  ["08", down],
  ["SQLITE_BUSY", busy],
  ["SQLITE_LOCKED", busy],
  ["SQLITE_READONLY", readOnly],
  ["SQLITE_FULL", full],
  ["SQLITE_IOERR", ["Denied", "its disk cannot be written or read: make room, and check the disk itself"]],
  ["SQLITE_CORRUPT", corrupt],
  ["SQLITE_NOTADB", corrupt],
  ["SQLITE_CANTOPEN", ["Denied", "its file cannot be opened: check its path and its owner"]],
  ["SQLITE_PERM", denied],
  ["SQLITE_AUTH", denied],
  ["ECONNREFUSED", down],
  ["ECONNRESET", down],
  ["ENOENT", down],
  ["ENOTFOUND", down],
  ["EHOSTUNREACH", down],
  ["ETIMEDOUT", down]
]

export const fromClient =
  (database: string) =>
  (error: unknown): ServerProblem => {
    // Already classified, by code that knew more.
    if (error instanceof SqlError && error.cause instanceof ServerProblem) return error.cause
    const code = deepCode(error)
    const [reason, advice] = known.find(([prefix]) => code.startsWith(prefix))?.[1] ?? other
    return new ServerProblem({
      reason,
      message: `${database} failed (${code}): ${advice}.`,
      cause: { code }
    })
  }

/**
 * Whether it lost a race that the same step may win the next time: a serialization failure, a deadlock, or a
 * table that another process has just created.
 */
export const isRace = ({ cause }: ServerProblem): boolean =>
  cause !== undefined && ["40001", "40P01", "23505", "42710", "42P07", "SQLITE_BUSY"].includes(cause.code)

/** Whether another connection kept the database locked for as long as this one waits. */
export const isLocked = ({ cause }: ServerProblem): boolean => cause?.code === "SQLITE_BUSY"

/** Returns the code of the first error in the chain of causes that has one. */
const deepCode = (error: unknown, depth = 0): string => {
  const code = codeOf(error)
  return code === "unknown" && depth < 5 && typeof error === "object" && error !== null && "cause" in error
    ? deepCode(error.cause, depth + 1)
    : code
}
