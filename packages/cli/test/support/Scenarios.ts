/**
 * Canaries through the command, in separate processes: all its output, and its entry in the list of
 * processes. Commands that print a token on request (`token`, `exec`, `export`) are left out.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Canaries, Scenario } from "../../../core/test/support/Canaries.js"

const program = fileURLToPath(new URL("../../bin/latchkey.js", import.meta.url))

/** How the server answers; each time with tokens that are secrets, or with what it was sent. */
type Mood = "well" | "denies" | "fails" | "garbles"

const startServer = (canaries: Canaries) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly be: (mood: Mood) => void; readonly close: () => void }>(
      (resume) => {
        let mood: Mood = "well"
        const server = createServer((request, response) => {
          let body = ""
          request.on("data", (part) => (body += String(part)))
          request.on("end", () => {
            const sent = `${body} ${JSON.stringify(request.headers)}`
            const reply = (status: number, value: unknown): void =>
              void response
                .writeHead(status, { "content-type": "application/json" })
                .end(JSON.stringify(value))
            if (mood === "denies") return reply(400, { error: "invalid_grant", error_description: sent })
            if (mood === "fails")
              return reply(503, { error: "temporarily_unavailable", error_description: sent })
            const tokens = {
              access_token: canaries.take(),
              refresh_token: canaries.take(),
              token_type: "Bearer"
            }
            reply(200, {
              ...tokens,
              expires_in: 1,
              // A type that nobody understands makes the whole answer useless.
              ...(mood === "garbles" && { token_type: canaries.take() })
            })
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as AddressInfo
          resume(
            Effect.succeed({
              url: `http://127.0.0.1:${port}`,
              be: (next) => void (mood = next),
              close: () => {
                server.close()
                server.closeAllConnections()
              }
            })
          )
        })
      }
    ),
    (server) => Effect.sync(server.close)
  )

/** Runs it; all that others can see of it. */
const latchkey = (home: string, args: ReadonlyArray<string>, env: NodeJS.ProcessEnv): Promise<string> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, [program, ...args], {
      env: {
        PATH: process.env["PATH"],
        HOME: home,
        XDG_DATA_HOME: join(home, "data"),
        XDG_CONFIG_HOME: join(home, "config"),
        ...env
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let seen = ""
    try {
      seen += readFileSync(`/proc/${child.pid}/cmdline`, "utf8")
    } catch {
      // There is no such list here, or it has ended.
    }
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => (seen += String(part)))
    child.on("close", (code) => resolve(`latchkey ${args.join(" ")} ended with ${code}\n${seen}`))
  })

const account = "demo/default"

/** Commands that print no token, each in every state of the account and every mood of the server. */
const commands: ReadonlyArray<ReadonlyArray<string>> = [
  ["status"],
  ["status", account, "--json"],
  ["list"],
  ["explain", account],
  ["explain", account, "--json"],
  ["refresh", account],
  ["refresh", account, "--json"],
  ["doctor"],
  ["doctor", "--json"]
]

const play = (canaries: Canaries) =>
  Effect.gen(function* () {
    const home = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "latchkey-canary-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const server = yield* startServer(canaries)
    mkdirSync(join(home, "config", "latchkey"), { recursive: true })
    mkdirSync(join(home, ".claude"), { mode: 0o700 })
    const providers = join(home, "config", "latchkey", "providers.json")
    const settings = JSON.stringify({
      providers: {
        demo: {
          server: { tokenEndpoint: `${server.url}/token`, revocationEndpoint: `${server.url}/revoke` },
          client: { id: "app", authentication: "post" },
          login: { ways: ["clientCredentials"] },
          refresh: { by: "refreshToken" },
          profile: { from: "none" }
        }
      }
    })
    writeFileSync(providers, settings, { mode: 0o600 })
    const env = { CLIENT_SECRET: canaries.take(), LATCHKEY_DEMO_CLIENT_SECRET: canaries.take() }
    const seen: Array<string> = []
    const run = (...args: ReadonlyArray<string>) =>
      Effect.promise(async () => void seen.push(await latchkey(home, args, env)))
    const login = ["login", "demo", "--client-credentials", "--client-secret-env", "CLIENT_SECRET"]

    yield* run("token", account)
    yield* run(...login)
    for (const mood of ["well", "fails", "garbles", "denies"] as const) {
      server.be(mood)
      for (const command of commands) yield* run(...command)
      if (mood !== "well") yield* run(...login)
      // A token that cannot be had is no token that was asked for.
      if (mood === "fails" || mood === "denies") yield* run("token", account, "--min-validity", "1h")
    }
    const secret = () => canaries.take()
    const files: Readonly<Record<string, string>> = {
      "cut off": `{"claudeAiOauth":{"accessToken":"${secret()}","refreshToken":"${secret()}`,
      "of wrong types": JSON.stringify({ claudeAiOauth: { accessToken: [secret()], expiresAt: secret() } }),
      "a wrong unit": JSON.stringify({
        claudeAiOauth: { accessToken: secret(), refreshToken: secret(), expiresAt: 1_700_000_000 }
      }),
      sound: JSON.stringify({
        claudeAiOauth: {
          accessToken: secret(),
          refreshToken: secret(),
          expiresAt: 4_000_000_000_000,
          scopes: []
        }
      })
    }
    for (const text of Object.values(files)) {
      writeFileSync(join(home, ".claude", ".credentials.json"), text, { mode: 0o600 })
      for (const command of [["import", "claude"], ["status"], ["doctor", "--json"]]) yield* run(...command)
    }
    server.be("fails")
    yield* run("logout", account)
    server.be("well")
    yield* run("logout", account)
    writeFileSync(providers, settings.replace('"post"', `"post","secret":["${secret()}"]`), { mode: 0o600 })
    yield* run("status")
    yield* run("doctor")
    return seen
  }).pipe(Effect.scoped)

export const scenarios = (canaries: Canaries): ReadonlyArray<Scenario> => [
  { name: "the command", play: play(canaries) }
]
