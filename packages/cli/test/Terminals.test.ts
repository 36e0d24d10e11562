/**
 * Eight terminals run `latchkey token` in a loop, through expiries of one rotating grant at a real server
 * that ends the grant when a refresh token is used twice. LATCHKEY_EXPIRIES sets the number of expiries.
 */
import { Credentials, Entry } from "@latchkey/core"
import * as Sqlite from "@latchkey/storage/Sqlite"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import { Effect, Exit, Option, Scope } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it, vi } from "vitest"
import * as Provider from "../../oauth/test/Provider.js"
import * as Terminal from "./support/Terminal.js"

const terminals = 8
const expiries = Number(process.env["LATCHKEY_EXPIRIES"] ?? 2)

/** In seconds: a few runs of the command long, also on a busy machine. */
const accessTokenTtl = 4

/** The server in this process, and what its token endpoint has seen. */
const startServer = async (scope: Scope.Scope) => {
  vi.spyOn(console, "info").mockReturnValue(undefined)
  const seen = { requests: 0, failed: 0, mostAtOnce: 0 }
  let active = 0
  const server = await Effect.runPromise(
    Scope.extend(
      Provider.start({
        accessTokenTtl,
        setUp: (provider) =>
          provider.use(async (context, next) => {
            if (context.path !== "/token") return next()
            seen.requests++
            seen.mostAtOnce = Math.max(seen.mostAtOnce, ++active)
            await next()
            active--
            if (context.status !== 200) seen.failed++
          })
      }),
      scope
    )
  )
  return { ...server, seen }
}

const logIn = async (
  program: string,
  room: Terminal.Room,
  issuer: string,
  first: Credentials.Credentials
) => {
  const config = join(room.folder, "config", "latchkey")
  mkdirSync(config, { recursive: true })
  const acme = { server: { issuer }, client: { id: "public-client" } }
  writeFileSync(join(config, "providers.json"), JSON.stringify({ providers: { acme } }))
  const expired = new Credentials.Credentials({
    ...first,
    obtainedAt: Option.none(),
    expiresAt: Option.map(first.expiresAt, (at) => at - 60_000)
  })
  const file = join(room.folder, "grant.json")
  writeFileSync(file, JSON.stringify(Entry.toJson(Entry.first(expired))), { mode: 0o600 })
  expect(await Terminal.run(program, room, ["import", "acme", file])).toMatchObject({ code: 0 })
}

const generationOf = (room: Terminal.Room): Promise<number> =>
  Effect.flatMap(TokenStorage, ({ load }) => load).pipe(
    Effect.map((stored) => Option.getOrThrow(stored).entry.generation),
    Effect.provide(
      Sqlite.layer({
        account: "acme/default",
        filename: join(room.folder, "data", "latchkey", "credentials.db")
      })
    ),
    Effect.runPromise
  )

it(
  `eight terminals ask in a loop through ${expiries} expiries: as many requests, nobody is logged out`,
  async () => {
    const program = await Terminal.bundle()
    // Expiries are counted, so nothing is to be renewed before one.
    const room = Terminal.room({ AUTH__REFRESH_GRACE_SECONDS: "0" })
    const scope = Effect.runSync(Scope.make())
    try {
      const { grant, issuer, seen } = await startServer(scope)
      await logIn(program, room, issuer, await Effect.runPromise(grant()))
      const errors: Array<string> = []
      let isOver = false
      const terminal = async (): Promise<void> => {
        while (!isOver) {
          const { code, stderr, stdout } = await Terminal.run(program, room, ["token", "acme"])
          if (code !== 0 || !/^\S+\n$/.test(stdout)) errors.push(`${code}: ${stderr.trim()}`)
        }
      }
      const all = Array.from({ length: terminals }, terminal)
      const hasSeenAll = () => expect(seen.requests).toBeGreaterThanOrEqual(expiries)
      await vi
        .waitFor(hasSeenAll, { interval: 50, timeout: expiries * accessTokenTtl * 10_000 + 60_000 })
        .finally(() => (isOver = true))
      await Promise.all(all)
      expect(errors).toEqual([])
      expect(seen).toMatchObject({ failed: 0, mostAtOnce: 1 })
      expect(await generationOf(room)).toBe(seen.requests + 1)
      expect(await Terminal.run(program, room, ["status", "acme"])).toMatchObject({ code: 0 })
    } finally {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      room.remove()
    }
  },
  120_000 + expiries * 30_000
)
