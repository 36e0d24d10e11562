/** A process of each edition shares one store and one rotating grant through many expiries. */
import { type ChildProcess, spawn } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { createInterface } from "node:readline"

export interface Store {
  readonly kind: "file" | "sqlite" | "postgres"
  readonly location: string
}

const lifetime = 1500

/** Rotates without a window: a refresh token that comes twice ends the grant. */
const startServer = async () => {
  let generation = 0
  let isAlive = true
  const figures = { redeemed: 0, refused: 0, atOnce: 0, most: 0 }
  const server = createServer((request, response) => {
    let sent = ""
    request.on("data", (part: Buffer) => (sent += part.toString()))
    request.on("end", () => {
      figures.most = Math.max(figures.most, ++figures.atOnce)
      const isLogin = sent === "login"
      if (!isLogin && (!isAlive || sent !== `refresh-${generation}`)) {
        isAlive = false
        figures.refused++
      } else if (!isLogin) figures.redeemed++
      // Long enough for the other process to come by meanwhile.
      setTimeout(() => {
        figures.atOnce--
        if (!isAlive) {
          response.writeHead(400).end()
          return
        }
        generation++
        const obtainedAt = Date.now()
        const answer = { access: `access-${generation}`, refresh: `refresh-${generation}`, obtainedAt }
        response.end(JSON.stringify({ ...answer, expiresAt: obtainedAt + lifetime }))
      }, 50)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const stop = () => {
    server.close()
    server.closeAllConnections()
  }
  const token = () => `access-${generation}`
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, figures, stop, token }
}

interface Worker {
  readonly ask: (command: string) => Promise<Record<string, unknown>>
  readonly end: () => Promise<void>
}

const start = async (folder: string, settings: object): Promise<Worker> => {
  const program = path.join(folder, "worker.ts")
  const args = ["--import", "tsx", "--conditions=@latchkey/source", program, JSON.stringify(settings)]
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: folder,
    stdio: ["pipe", "pipe", "inherit"]
  })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  if (child.stdout === null) throw new Error("no output")
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async (): Promise<Record<string, unknown>> => {
    const { done, value } = await lines.next()
    if (done === true) throw new Error(`${program} ended`)
    if (value.startsWith("{")) return JSON.parse(value) as Record<string, unknown>
    // A line of its log.
    console.error(value)
    return answer()
  }
  await answer()
  return {
    ask: (command) => {
      child.stdin?.write(`${command}\n`)
      return answer()
    },
    end: async () => {
      child.stdin?.end()
      await ended
    }
  }
}

/** What is wrong; nothing where the editions share the grant well. `folders` hold a worker of each edition. */
export const cross = async (
  folders: readonly [string, string],
  store: Store,
  expiries: number
): Promise<ReadonlyArray<string>> => {
  const server = await startServer()
  const settings = { ...store, tokenEndpoint: server.url }
  const first = await start(folders[0], settings)
  const second = await start(folders[1], settings)
  const problems: Array<string> = []
  const expect = (what: string, is: unknown, due: unknown) => {
    const [actual, wanted] = [JSON.stringify(is), JSON.stringify(due)]
    if (actual !== wanted) problems.push(`${store.kind}, ${what}: ${actual}, not ${wanted}`)
  }
  try {
    expect("login", await first.ask("login"), {})
    for (let expiry = 1; expiry <= expiries && problems.length === 0; expiry++) {
      await new Promise((resolve) => setTimeout(resolve, lifetime))
      // Each edition is the first to ask in turn.
      const order = expiry % 2 === 0 ? [first, second] : [second, first]
      const tokens = await Promise.all(order.map((worker) => worker.ask("token")))
      for (const token of tokens) expect(`token after expiry ${expiry}`, token, { token: server.token() })
      expect(`refreshes after expiry ${expiry}`, server.figures.redeemed, expiry)
    }
    expect("the record as each edition reads it", await first.ask("stored"), await second.ask("stored"))
    expect("requests that were refused", server.figures.refused, 0)
    expect("requests at once", server.figures.most, 1)
  } finally {
    await Promise.all([first.end(), second.end()])
    server.stop()
  }
  return problems
}
