/** A PostgreSQL for one test, in its own directory, reached through a socket there. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import Pg from "pg"
import { postgres } from "../../../../.ci/programs.js"
import * as Daemon from "./Daemon.js"

export interface PostgresServer extends Daemon.Daemon {
  /** For its superuser, who needs no password. */
  readonly url: string
}

export const make: Effect.Effect<PostgresServer, never, Scope.Scope> = Effect.gen(function* () {
  const bin = Path.dirname(postgres.path ?? "")
  const user = ordinaryUser()
  const home = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const path = fs.mkdtempSync(Path.join(tmpdir(), "latchkey-pg-"))
      if (user !== undefined) fs.chownSync(path, user.uid, user.gid)
      const args = [
        "-D",
        `${path}/data`,
        "-U",
        "latchkey",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync"
      ]
      await promisify(execFile)(`${bin}/initdb`, args, { cwd: "/", ...user })
      return path
    }),
    (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
  )
  const url = `postgres://latchkey@localhost/postgres?host=${encodeURIComponent(home)}`
  const settings = ["listen_addresses=", "max_connections=300", "log_min_messages=fatal"]
  const daemon = yield* Daemon.make({
    command: `${bin}/postgres`,
    args: ["-D", `${home}/data`, "-k", home, ...settings.flatMap((setting) => ["-c", setting])],
    user,
    ready: answers(url),
    quit: "SIGQUIT"
  })
  return { ...daemon, url }
})

/** PostgreSQL refuses to run as root. */
const ordinaryUser = (): Daemon.User | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const lines = fs.readFileSync("/etc/passwd", "utf8").split("\n")
  const line = ["postgres:", "nobody:"].map((name) => lines.find((l) => l.startsWith(name))).find(Boolean)
  const [, , uid, gid] = (line ?? "").split(":")
  return { uid: Number(uid ?? 65534), gid: Number(gid ?? 65534) }
}

const answers = (url: string): Effect.Effect<boolean> =>
  Effect.promise(async () => {
    const client = new Pg.Client(url)
    client.on("error", () => {})
    try {
      await client.connect()
      await client.query("SELECT 1")
      return true
    } catch {
      return false
    } finally {
      await client.end().catch(() => {})
    }
  })
