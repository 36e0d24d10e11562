/** Runs one bench in its own process: `main NAME JSON`. It exchanges messages with its parent. */
import { fork } from "node:child_process"
import { once } from "node:events"
import type { Context } from "../src/Bench.js"
import { alone, type Job as ColdJob } from "../src/benches/Cold.js"
import { grow, type Job as GrowthJob } from "../src/benches/Growth.js"
import { benches } from "../src/benches/index.js"
import { type Job as MemoryJob, weigh } from "../src/benches/Memory.js"
import { effectCache, effectCached } from "../src/candidates/Effects.js"
import { ask, type Job as ProcsJob } from "../src/benches/Procs.js"
import type { Peer } from "../src/Peer.js"
import type { ServerFigures } from "../src/Servers.js"
import { badgateway } from "./Badgateway.js"
import { byHand, fieldRead } from "./ByHand.js"
import { googleAuth } from "./GoogleAuth.js"
import { msal } from "./Msal.js"
import { openidClient } from "./OpenidClient.js"
import { simpleOauth2 } from "./SimpleOauth2.js"
import { smithy } from "./Smithy.js"

/** Only the bench installs these. See `package.json` here. */
const peers: ReadonlyArray<Peer> = [
  googleAuth,
  msal,
  smithy,
  badgateway,
  openidClient,
  simpleOauth2,
  effectCache,
  effectCached,
  byHand
]

type Jobs = ColdJob | GrowthJob | MemoryJob | ProcsJob

/** The arguments of a bench. */
interface Given {
  readonly issuer: string
  readonly small: boolean
  readonly libraries: ReadonlyArray<string>
  readonly packages: string
}

const told = async (): Promise<unknown> => (await once(process, "message"))[0] as unknown

const inquire = (question: string): Promise<unknown> => {
  const answer = told()
  process.send?.({ question })
  return answer
}

let kept: unknown
const keep = (value: unknown): void => {
  kept = value
}

const [, , name = "", given = ""] = process.argv

/** Runs a bench's job in a separate process. */
const perform = (job: Jobs): Promise<unknown> => {
  switch (job.job) {
    case "cold":
      return alone(job)
    case "memory":
      return weigh(job, peers, keep)
    case "growth":
      return grow(job)
    case "ask":
      return ask(job, peers)
  }
}

const contextOf = ({ issuer, libraries, packages, small }: Given): Context => ({
  small,
  libraries,
  packages,
  peers,
  server: { issuer, tokenEndpoint: `${issuer}/token`, clientId: "public-client" },
  keep,
  fieldRead: (held) => fieldRead(held, keep),
  login: async () => String(await inquire("login")),
  figures: async () => (await inquire("figures")) as ServerFigures,
  child: async (job, flags = []) => {
    const child = fork(process.argv[1] ?? "", ["child"], {
      execArgv: [...flags],
      serialization: "advanced"
    })
    const ended = once(child, "exit").then(([code]) => {
      throw new Error(`The process for ${JSON.stringify(job)} ended with ${String(code)}.`)
    })
    // Not as an argument: a job may hold tokens, and any user can see the arguments of a process.
    child.send(job)
    const [answer] = (await Promise.race([once(child, "message"), ended])) as [unknown]
    ended.catch(() => undefined)
    child.kill("SIGKILL")
    return answer
  }
})

if (name === "child") {
  process.send?.(await perform((await told()) as Jobs))
} else {
  const findings = await benches[name]?.run(contextOf(JSON.parse(given) as Given))
  process.send?.({ findings, kept: typeof kept })
  process.disconnect()
  process.exit()
}
