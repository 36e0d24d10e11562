/** Runs one bench in a process of its own: `main NAME JSON`; it talks with its parent by messages. */
import { fork } from "node:child_process"
import { once } from "node:events"
import type { Context } from "../src/Bench.js"
import { benches } from "../src/benches/index.js"
import { effectCache, effectCached } from "../src/candidates/Effects.js"
import type { Peer, Server } from "../src/Peer.js"
import type { ServerFigures } from "../src/Servers.js"
import { badgateway } from "./Badgateway.js"
import { byHand, fieldRead } from "./ByHand.js"
import { googleAuth } from "./GoogleAuth.js"
import { msal } from "./Msal.js"
import { openidClient } from "./OpenidClient.js"
import { simpleOauth2 } from "./SimpleOauth2.js"
import { smithy } from "./Smithy.js"

/** Installed by the bench alone; see `package.json` here. */
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

const ask = async (question: string): Promise<unknown> => {
  const answer = once(process, "message")
  process.send?.({ question })
  return (await answer)[0] as unknown
}

let kept: unknown
const keep = (value: unknown): void => {
  kept = value
}

const name = process.argv[2] ?? ""
const { issuer, small } = JSON.parse(process.argv[3] ?? "") as { issuer: string; small: boolean }
const server: Server = { issuer, tokenEndpoint: `${issuer}/token`, clientId: "public-client" }

const context: Context = {
  small,
  peers,
  server,
  keep,
  fieldRead: (held) => fieldRead(held, keep),
  login: async () => String(await ask("login")),
  figures: async () => (await ask("figures")) as ServerFigures,
  child: async (job, flags = []) => {
    const child = fork(process.argv[1] ?? "", ["child", JSON.stringify(job)], { execArgv: [...flags] })
    const [answer] = (await once(child, "message")) as [unknown]
    child.kill("SIGKILL")
    return answer
  }
}

const findings = await benches[name]?.run(context)
process.send?.({ findings, kept: typeof kept })
process.disconnect()
process.exit()
