/**
 * `terminals`: eight terminals run `latchkey token` in a loop, through many expiries of one rotating grant at a
 * real server that ends the grant when a refresh token is used twice.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Terminal from "../../../cli/test/support/Terminal.js"
import { type RemoteServer, startServer } from "../Servers.js"
import * as Backend from "./Backend.js"
import * as Campaign from "./Campaign.js"

const terminals = 8

/** In seconds: a few runs of the command long, also on a busy machine. */
const lifetime = 2

/** `start` gives the server, whose tokens live for as many seconds as it is told. */
export const run = async (
  expiries: number,
  start: (options: { readonly accessTokenTtl: number }) => Promise<RemoteServer> = startServer
): Promise<Campaign.Figures> => {
  const program = Terminal.bundle()
  // Expiries are counted, so nothing is to be renewed before one.
  const room = Terminal.room({ AUTH__REFRESH_GRACE_SECONDS: "0" })
  const server = await start({ accessTokenTtl: lifetime })
  const began = performance.now()
  try {
    await logIn(program, room, server.issuer, await server.login())
    const errors: Array<string> = []
    let asked = 0
    let over = false
    const terminal = async (): Promise<void> => {
      while (!over) {
        const { code, stderr, stdout } = await Terminal.run(program, room, ["token", "acme"])
        asked++
        if (code !== 0 || !/^\S+\n$/.test(stdout)) errors.push(`${code}: ${stderr.trim()}`)
      }
    }
    const all = Array.from({ length: terminals }, terminal)
    const giveUp = performance.now() + expiries * lifetime * 10_000 + 60_000
    while ((await server.figures()).requests < expiries && performance.now() < giveUp) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    over = true
    await Promise.all(all)
    const { failed, mostAtOnce, requests } = await server.figures()
    const rotations = (await generationOf(room)) - 1
    const status = await Terminal.run(program, room, ["status", "acme"])
    return {
      terminals,
      expiries: rotations,
      requests,
      mostAtOnce,
      asked,
      errors: errors.length,
      loggedIn: status.code === 0,
      seconds: Math.round((performance.now() - began) / 1000),
      broken: [
        ...(requests === rotations ? [] : [`${requests} requests for ${rotations} expiries`]),
        ...(failed === 0 ? [] : [`the server refused ${failed} requests`]),
        ...(mostAtOnce === 1 ? [] : [`${mostAtOnce} requests at once`]),
        ...(rotations >= expiries ? [] : [`only ${rotations} of ${expiries} expiries in time`]),
        ...(status.code === 0 ? [] : [`logged out: ${status.stdout.trim()}`]),
        ...[...new Set(errors)].slice(0, 5)
      ]
    }
  } finally {
    server.stop()
    room.remove()
  }
}

const logIn = async (
  program: string,
  room: Terminal.Room,
  issuer: string,
  refreshToken: string
): Promise<void> => {
  const config = join(room.folder, "config", "latchkey")
  await mkdir(config, { recursive: true })
  const acme = { server: { issuer }, client: { id: "public-client" } }
  await writeFile(join(config, "providers.json"), JSON.stringify({ providers: { acme } }))
  const expired = { accessToken: "first", refreshToken, expiresAt: Campaign.wallClock() - 1000 }
  const file = join(room.folder, "grant.json")
  await writeFile(file, JSON.stringify(Entry.toJson(Entry.first(Credentials.make(expired)))), { mode: 0o600 })
  const { code, stderr } = await Terminal.run(program, room, ["import", "acme", file])
  if (code !== 0) throw new Error(stderr)
}

const generationOf = (room: Terminal.Room): Promise<number> => {
  const location = join(room.folder, "data", "latchkey", "credentials.db")
  return Effect.gen(function* () {
    const { load } = yield* TokenStorage.TokenStorage
    return Option.getOrThrow(yield* load).entry.generation
  }).pipe(
    Effect.provide(Backend.layer({ kind: "sqlite", location, account: "acme/default" })),
    Effect.runPromise
  )
}
