/**
 * `procs`: many processes share one store and one rotating grant of a real authorization server without any
 * window, through many expiries (invariant 5).
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import { startServer } from "../Servers.js"
import * as Campaign from "./Campaign.js"
import type { Open } from "./Opener.js"

/** The figures that one process reports at its end. */
export interface Account {
  readonly asked: number
  readonly errors: ReadonlyArray<string>
  readonly token: string
}

export const run = async (open: Open, expiries: number, processes: number): Promise<Campaign.Figures> => {
  const program = await Campaign.bundle("campaign-child")
  const server = await startServer({ accessTokenTtl: 1 })
  try {
    return await Campaign.inDirectory(async (directory) => {
      const backend = await open(directory)
      const began = performance.now()
      const refreshToken = await server.login()
      const first = Credentials.make({
        accessToken: "first",
        refreshToken,
        expiresAt: Campaign.wallClock() - 1000
      })
      await Campaign.store(backend, first)
      const children = Array.from({ length: processes }, () =>
        Campaign.start(program, { do: "ask", backend, issuer: server.issuer })
      )
      for (const child of children) await child.line()
      // The first refresh gave the first token. Each later one is an expiry.
      let { answered } = await server.figures()
      const giveUp = performance.now() + expiries * 5000 + 60_000
      while (answered < expiries && performance.now() < giveUp) {
        await Campaign.pause(200)
        answered = (await server.figures()).answered
      }
      for (const child of children) child.tell("stop")
      const accounts = await Promise.all(children.map(async (child) => (await child.line()) as Account))
      for (const child of children) await child.end()
      const { failed, mostAtOnce, requests } = await server.figures()
      const { entry } = Option.getOrThrow(await Campaign.load(backend))
      const token = Fingerprint.of(entry.credentials.accessToken)
      const errors = accounts.flatMap((a) => a.errors)
      const rotations = entry.generation - 1
      const broken = [
        ...(requests === rotations ? [] : [`${requests} requests for ${rotations} rotations`]),
        ...(failed === 0 ? [] : [`the server refused ${failed} requests`]),
        ...(mostAtOnce === 1 ? [] : [`${mostAtOnce} requests at once`]),
        ...(rotations >= expiries ? [] : [`only ${rotations} of ${expiries} expiries in time`]),
        ...(accounts.every((a) => a.token === token) ? [] : ["not the same token everywhere at the end"]),
        ...[...new Set(errors)].slice(0, 5)
      ]
      return {
        processes,
        expiries: rotations,
        requests,
        mostAtOnce,
        asked: accounts.reduce((sum, a) => sum + a.asked, 0),
        errors: errors.length,
        alive:
          Option.isSome(entry.credentials.refreshToken) && Redacted.isRedacted(entry.credentials.accessToken),
        seconds: Campaign.secondsSince(began),
        broken
      }
    })
  } finally {
    server.stop()
  }
}
