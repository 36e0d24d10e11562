/**
 * Classifies errors of Redis and of the connection to it. Redis errors quote the command, and with it the
 * tokens.
 */
import type { StorageError } from "@latchkey/core/TokenStorage"
import { codeOf } from "./FileProblem.js"
import { ServerProblem } from "./ServerProblem.js"

type Sorted = readonly [StorageError["reason"], string]

const down: Sorted = ["Unavailable", "it cannot be reached: start it, or correct its address"]
const login: Sorted = ["Denied", "it refused the login: correct the user and the password"]
const full: Sorted = ["Denied", "its memory or its disk is full: make room"]
const moved: Sorted = ["Unavailable", "it is a replica, or its cluster is changing: try again"]
const other: Sorted = ["Unavailable", "try again later; if it continues, check the server's own log"]

const known: Readonly<Record<string, Sorted>> = {
  CLOSED: [
    "Unavailable",
    "the connection was lost; whether the command was run is unknown: load the record to find out"
  ],
  ECONNREFUSED: down,
  ECONNRESET: down,
  ENOTFOUND: down,
  ETIMEDOUT: down,
  NOAUTH: login,
  WRONGPASS: login,
  NOPERM: ["Denied", "this user may not run the commands that are needed: widen its ACL"],
  OOM: full,
  MISCONF: full,
  READONLY: moved,
  CLUSTERDOWN: moved,
  MASTERDOWN: moved,
  TRYAGAIN: moved,
  LOADING: ["Unavailable", "it is still loading its data: try again"],
  WRONGTYPE: ["Malformed", "its key holds something else: use another prefix"]
}

export const fromClient =
  (server: string) =>
  (error: unknown): ServerProblem => {
    const code = codeFor(error)
    const [reason, advice] = known[code] ?? other
    return new ServerProblem({ reason, message: `${server} failed (${code}): ${advice}.`, cause: { code } })
  }

const codeFor = (error: unknown): string => {
  const code = codeOf(error)
  if (code !== "unknown") return code
  // A reply begins with its code. The client's own errors concern the connection.
  const said = error instanceof Error && error.name === "ReplyError" ? /^[A-Z]+/.exec(error.message) : null
  return said?.[0] ?? "CLOSED"
}
