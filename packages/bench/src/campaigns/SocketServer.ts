/**
 * The hostile server's rotation policies behind a real socket, with a halt at each step of a response: for
 * campaigns whose processes die there.
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as Credentials from "@latchkey/core/Credentials"
import { HostileServer, type Rotation } from "@latchkey/oauth/testing"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/**
 * The server's progress: it has the request; it has redeemed the token; it has sent half of the response; it
 * has sent all of it.
 */
export type Halt = "received" | "redeemed" | "half" | "answered"

export interface SocketServer {
  readonly tokenEndpoint: string
  readonly control: HostileServer.HostileServer["Type"]
  readonly login: Effect.Effect<Credentials.Credentials>
  /** What to do at the next request's halts. It applies to that request only. */
  readonly onHalt: (act: (halt: Halt) => void | Promise<void>) => void
  /** Resolves when no request is running. */
  readonly idle: () => Promise<void>
}

/** Counts what is inside, and lets others wait until nothing is. */
export class Gate {
  private inside = 0
  private waiting: Array<() => void> = []

  /** Returns the function to leave. */
  enter(): () => void {
    this.inside++
    return () => {
      if (--this.inside > 0) return
      for (const resume of this.waiting.splice(0)) resume()
    }
  }

  idle(): Promise<void> {
    return this.inside === 0 ? Promise.resolve() : new Promise((resolve) => this.waiting.push(resolve))
  }
}

const readBody = async (request: IncomingMessage): Promise<string> => {
  let body = ""
  for await (const chunk of request) body += String(chunk)
  return body
}

/** Closed with the scope. */
export const make = (options: {
  readonly rotation: Rotation.Rotation
}): Effect.Effect<SocketServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { client, control } = yield* HostileServer.make({ ...options, accessTokenLifetime: "1 hour" })
    let act: (halt: Halt) => void | Promise<void> = () => undefined

    const gate = new Gate()

    const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const halted = act
      act = () => undefined
      const body = await readBody(request)
      await halted("received")
      const inner = HttpClientRequest.post(HostileServer.server.tokenEndpoint).pipe(
        HttpClientRequest.bodyText(body, "application/x-www-form-urlencoded")
      )
      const reply = await Effect.runPromise(client.execute(inner))
      const text = await Effect.runPromise(reply.text)
      await halted("redeemed")
      response.writeHead(reply.status, { ...reply.headers, "content-length": Buffer.byteLength(text) })
      const half = Math.floor(text.length / 2)
      response.write(text.slice(0, half))
      await halted("half")
      response.end(text.slice(half))
      await halted("answered")
    }

    const server = yield* Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const started = createServer((request, response) => {
          const leave = gate.enter()
          // The client may be dead by now.
          answer(request, response)
            .catch(() => response.destroy())
            .finally(leave)
        })
        started.listen(0, "127.0.0.1", () => resume(Effect.succeed(started)))
      }),
      (started) =>
        Effect.async<void>((resume) => {
          started.close(() => resume(Effect.void))
          started.closeAllConnections()
        })
    )
    const { port } = server.address() as AddressInfo
    return {
      tokenEndpoint: `http://127.0.0.1:${port}/token`,
      control,
      login: control.issueGrant(),
      onHalt: (next) => void (act = next),
      idle: () => gate.idle()
    }
  })
