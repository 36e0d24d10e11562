/**
 * Two programs share one login at an MCP server through a file: one uses the official SDK, the other Effect. The user logs
 * in once, and an expired token is refreshed once.
 */
import { Login } from "@latchkey/mcp"
import { Effect, Logger, LogLevel } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import * as Http from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { status } from "./effect.js"
import { connect } from "./sdk.js"
import * as Server from "./Server.js"

/** Stands for a browser whose user agrees at once: it follows the redirects. `Login.browser()` opens the real one. */
const visit = (url: URL): Promise<void> =>
  new Promise((done, failed) => {
    Http.get(url, (response) => {
      response.resume()
      const next = response.headers.location
      if (next === undefined) done()
      else visit(new URL(next)).then(done, failed)
    }).on("error", failed)
  })

const login = Login.browser({ openUrl: (url) => Effect.promise(() => visit(url)) })

const server = await Server.start()
const folder = await mkdtemp(join(tmpdir(), "latchkey-example-"))
const path = join(folder, "mcp-login.json")
const reports: Array<boolean> = []
const report = (what: string, kept: boolean) => {
  reports.push(kept)
  console.log(`${kept ? "ok  " : "NOT "} ${what}`)
}

const program = await connect(server.url, path, login)
report("the SDK's client logs in", (await program.day()) === "Friday" && server.logins() === 1)
const other = status(server.url, path, login).pipe(Logger.withMinimumLogLevel(LogLevel.Warning))
report("a program in Effect uses the same login", (await Effect.runPromise(other)) < 400)
server.endToken()
const both = await Promise.all([program.day(), Effect.runPromise(other)])
report("both recover from an expired token", both[0] === "Friday" && both[1] < 400)
report("with one login and one refresh", server.logins() === 1 && server.refreshes() === 1)

await program.close()
server.stop()
await rm(folder, { recursive: true })
process.exitCode = reports.every(Boolean) ? 0 : 1
