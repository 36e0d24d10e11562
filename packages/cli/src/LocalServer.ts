/**
 * An HTTP server on the loopback address, on a Unix socket, or on a socket that systemd has opened.
 *
 * @since 3.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { fstatSync } from "node:fs"
import * as fs from "node:fs/promises"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Failure from "./Failure.js"
import * as LocalGate from "./LocalGate.js"

/**
 * Where to listen. Port 0 is any free port. `descriptor` is a socket that the parent process has opened.
 *
 * @since 3.1.0
 * @category models
 */
export type Place = { readonly port: number } | { readonly socket: string } | { readonly descriptor: number }

/** A program on this machine needs few connections. More than these are closed at once. */
const maxConnections = 256

/** How long a client may take for the headers of a request, in milliseconds. */
const headersTimeout = 10_000

const nameOf = (place: Place): string => {
  if ("port" in place) return place.port === 0 ? "A free port of 127.0.0.1" : `127.0.0.1:${place.port}`
  return "socket" in place ? place.socket : `Descriptor ${place.descriptor}`
}

const advice: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program uses it: end that program, or choose another",
  EACCES: "this user may not open it: check the owner and the mode of its directory",
  ENOENT: "its directory does not exist: create it",
  EINVAL: "its path is too long for a socket: choose a shorter one"
}

const notOpened = (place: Place, { code = "unknown" }: NodeJS.ErrnoException): Failure.Failure =>
  Failure.configuration(
    `${nameOf(place)} cannot be opened (${code}): ${advice[code] ?? "choose another"}.`,
    undefined,
    "Listen"
  )

/**
 * A server that listens. Its requests wait until {@link handle} answers them.
 *
 * @since 3.1.0
 * @category models
 */
export interface Server {
  readonly handler: Deferred.Deferred<Http.RequestListener>
}

/**
 * Listens until the scope closes. Returns the port, which is 0 on a Unix socket. Then {@link handle} answers.
 *
 * A Unix socket has mode 0600, so that the system lets only its user connect. One that a dead process left
 * behind is replaced. One that answers, and any other file, stays. A socket that systemd has opened is refused
 * if other users may connect to it, or other machines.
 *
 * @since 3.1.0
 * @category constructors
 */
export const listen = (
  place: Place
): Effect.Effect<{ readonly server: Server; readonly port: number }, Failure.Failure, Scope.Scope> =>
  Effect.gen(function* () {
    const handler = yield* Deferred.make<Http.RequestListener>()
    if ("socket" in place) yield* Effect.promise(() => removeDead(place.socket))
    const server = yield* Effect.acquireRelease(
      Effect.async<Http.Server, Failure.Failure>((resume) => {
        const made = Http.createServer({ headersTimeout, requestTimeout: 0 })
        made.maxConnections = maxConnections
        // A client may have connected before systemd started this process. Its request waits for the handler.
        made.on("request", (request, response) =>
          Effect.runFork(Effect.map(Deferred.await(handler), (answer) => answer(request, response)))
        )
        made.once("error", (error) => resume(Effect.fail(notOpened(place, error))))
        const opened = () => resume(Effect.succeed(made))
        // From its creation, nobody else may connect to the socket.
        const mask = process.umask(0o177)
        if ("port" in place) made.listen({ host: "127.0.0.1", port: place.port, exclusive: true }, opened)
        else if ("socket" in place) made.listen({ path: place.socket }, opened)
        else made.listen({ fd: place.descriptor }, opened)
        process.umask(mask)
      }),
      (made) =>
        Effect.async<void>((resume) => {
          made.close(() => resume(Effect.void))
          made.closeAllConnections()
        })
    )
    const address = server.address()
    if ("descriptor" in place) yield* checkHandedOver(place.descriptor, address)
    return { server: { handler }, port: typeof address === "object" && address !== null ? address.port : 0 }
  })

/** The mode of a socket that systemd has opened is that of its unit, which by default lets everybody in. */
const checkHandedOver = (
  descriptor: number,
  address: Net.AddressInfo | string | null
): Effect.Effect<void, Failure.Failure> =>
  Effect.gen(function* () {
    if (typeof address === "object" && address !== null) {
      if (/^(?:127\.|::1$)/.test(address.address)) return
      return yield* Failure.configuration(
        `The port ${address.port} that systemd has opened can be reached from other machines.`,
        `set ListenStream=127.0.0.1:${address.port} in the .socket unit`,
        "Listen"
      )
    }
    const path = yield* Effect.promise(() => pathOf(descriptor))
    const ownedBy = (file: string) =>
      Effect.promise(() => fs.stat(file).catch((): LocalGate.Owned | undefined => undefined))
    const isFile = path !== undefined && Path.isAbsolute(path)
    const [socket, directory] = isFile
      ? [yield* ownedBy(path), yield* ownedBy(Path.dirname(path))]
      : [undefined, undefined]
    if (LocalGate.isPrivateSocket(process.getuid?.(), socket, directory)) return
    return yield* Failure.storage(
      "Socket",
      `The socket ${isFile ? path : "without a path"} that systemd has opened lets other users connect.`,
      "set SocketMode=0600 in the .socket unit, and ListenStream= to a path"
    )
  })

/** Node does not know the path of a socket that it has not made. Linux does. */
const pathOf = async (descriptor: number): Promise<string | undefined> => {
  const sockets = await fs.readFile("/proc/net/unix", "utf8").catch(() => "")
  return LocalGate.socketPath(sockets, fstatSync(descriptor).ino)
}

const removeDead = async (path: string): Promise<void> => {
  const found = await fs.lstat(path).catch(() => undefined)
  if (found?.isSocket() !== true) return
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = Net.connect(path)
    probe.once("connect", () => resolve(true))
    probe.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED"))
    probe.once("close", () => probe.destroy())
  })
  if (!isAlive) await fs.rm(path, { force: true })
}

/**
 * Answers the requests of a server with an app. A defect becomes a 500 that says nothing. The app is
 * interrupted when the client goes away.
 *
 * @since 3.1.0
 * @category operations
 */
export const handle = <E, R>(
  { handler }: Server,
  app: HttpApp.Default<E, R>
): Effect.Effect<void, never, Exclude<R, HttpServerRequest.HttpServerRequest | Scope.Scope>> =>
  Effect.flatMap(NodeHttpServer.makeHandler(Effect.interruptible(app)), (answer) =>
    Effect.asVoid(Deferred.succeed(handler, answer))
  )

/**
 * A response that says why there is no other one.
 *
 * @since 3.1.0
 * @category constructors
 */
export const problem = (
  status: number,
  reason: string,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson({ error: { reason, message } }, { status, headers })

/**
 * The response to a request that the gate does not admit. It ends the connection.
 *
 * @since 3.1.0
 * @category constructors
 */
export const refused = (refusal: LocalGate.Refusal): HttpServerResponse.HttpServerResponse =>
  problem(refusal === "Secret" ? 401 : 403, refusal, LocalGate.describe(refusal), { connection: "close" })
