/** Runs one bench in its own process: `main NAME JSON`. It exchanges messages with its parent. */
import "./NodeFetch.js"
import { fork } from "node:child_process"
import { once } from "node:events"
import type { Context } from "../src/Bench.js"
import { benches } from "../src/benches/index.js"
import { ask, type Job } from "../src/benches/Procs.js"
import { effects } from "../src/candidates/Effects.js"
import { type Open, type Peer, requestByFetch, sharing } from "../src/Peer.js"
import type { ServerFigures } from "../src/Servers.js"

type Library = Promise<{ readonly open: Open }>

/** A library is loaded when it is used: a process that measures one of them does not wait for the others. */
const library = (name: string, load: () => Library, how: Omit<Peer, "name" | "open">): Peer => ({
  name,
  ...how,
  open: async (server, held) => (await load()).open(server, held)
})

const full = { full: true }
const part = { full: false }
/** It refreshes only at its vendor's own servers. */
const fresh = { full: true, last: true, only: "fresh" } as const

/** Only the bench installs these. See `package.json` here. */
const peers: ReadonlyArray<Peer> = [
  library("google-auth-library", () => import("./GoogleAuth.js"), full),
  library("smithy identity", () => import("./Smithy.js"), full),
  library("@badgateway/oauth2-client", () => import("./Badgateway.js"), full),
  // It cannot load a grant from a file.
  library("@azure/msal-node", () => import("./Msal.js"), { full: true, last: true, only: "process" }),
  library("@azure/identity", () => import("./Azure.js"), fresh),
  library("@aws-sdk/token-providers", () => import("./Aws.js"), fresh),
  library("@atproto/oauth-client-node", () => import("./Atproto.js"), fresh),
  // Its tokens are due five seconds before they expire: always, if they live for two.
  library("better-auth", () => import("./BetterAuth.js"), { full: true, last: true, only: "process" }),
  library("openid-client", () => import("./OpenidClient.js"), part),
  library("simple-oauth2", () => import("./SimpleOauth2.js"), part),
  library("@modelcontextprotocol/client", () => import("./Mcp.js"), part),
  library("arctic, a Promise cache", () => import("./Arctic.js"), part),
  {
    name: "by hand, a Promise cache",
    full: false,
    open: (server, held) => sharing(held, ({ refreshToken }) => requestByFetch(server, refreshToken))
  },
  ...effects
]

/** The arguments of a bench. */
interface Given {
  readonly issuer: string
  readonly small: boolean
  readonly packages: string
}

// Some libraries warn of each failed refresh.
console.warn = () => undefined

const received = async (): Promise<unknown> => (await once(process, "message"))[0] as unknown

const inquire = (question: string): Promise<unknown> => {
  const answer = received()
  process.send?.({ question })
  return answer
}

const [, , name = "", given = ""] = process.argv

const contextOf = ({ issuer, packages, small }: Given): Context => ({
  small,
  packages,
  peers,
  server: { issuer, tokenEndpoint: `${issuer}/token`, clientId: "public-client" },
  login: async () => String(await inquire("login")),
  figures: async () => (await inquire("figures")) as ServerFigures,
  child: async (job) => {
    const child = fork(process.argv[1] ?? "", ["child"], { serialization: "advanced" })
    const ended = once(child, "exit").then(([code]) => {
      throw new Error(`The process of ${name} ended with ${String(code)}.`)
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
  process.send?.(await ask((await received()) as Job, peers))
  // Its parent ends it, once it has the answer: the end of a process may arrive before its last message.
  process.on("message", () => undefined)
} else {
  process.send?.({ findings: await benches[name]?.run(contextOf(JSON.parse(given) as Given)) })
  process.disconnect()
  process.exit()
}
