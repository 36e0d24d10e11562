/** A Redis for one test, on a free port of the loopback interface. It keeps its data through a restart. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { redis } from "../../../../.ci/programs.js"
import * as Daemon from "./Daemon.js"

export interface RedisServer extends Daemon.Daemon {
  readonly url: string
  readonly port: number
}

/** `settings` go on its command line, such as `["--requirepass", "…"]`. */
export const make = (settings: ReadonlyArray<string> = []): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const home = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(Path.join(tmpdir(), "latchkey-redis-"))),
      (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
    )
    const port = yield* freePort
    const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    const daemon = yield* Daemon.make({
      command: redis.path ?? "",
      args: ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", home, ...durable, ...settings],
      ready: answers(port),
      quit: "SIGKILL"
    })
    return { ...daemon, url: `redis://127.0.0.1:${port}`, port }
  })

const freePort: Effect.Effect<number> = Effect.async((resume) => {
  const server = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Any answer but that it is still loading; it may ask for a password first. */
const answers = (port: number): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write("PING\r\n"))
    const end = (ready: boolean) => {
      socket.destroy()
      resume(Effect.succeed(ready))
    }
    socket.once("data", (data) => end(!String(data).startsWith("-LOADING")))
    socket.once("error", () => end(false))
  })
