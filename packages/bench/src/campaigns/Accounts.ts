/**
 * `accounts`: one process holds n accounts of one store: memory for each, the processor's time while there is
 * nothing to do, and how long it takes to renew them all once they are due. The refresher answers at once, in
 * the process: a token server would be the limit. Where fewer are due than there are, the others are held. What
 * a store in memory begins with is its own, and not counted.
 */
import * as Effect from "effect/Effect"
import * as Campaign from "./Campaign.js"
import type { Open } from "./Opener.js"
import * as Tenants from "./Tenants.js"

export const run = (open: Open, n: number, due: number): Promise<Campaign.Figures> =>
  Campaign.inDirectory(async (directory) => {
    const program = await Campaign.bundle("tenants-child")
    const backend = await open(directory)
    await Effect.runPromise(Tenants.seed(backend, n, Math.round(Campaign.wallClock()), due))
    const child = Campaign.start(program, { do: "measure", backend, n, due })
    const figures = (await child.line()) as Campaign.Figures | undefined
    await child.end()
    return figures ?? { broken: ["the process died"] }
  })
