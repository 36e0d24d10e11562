/** The client of `LATCHKEY_AGENT` and the token that an agent describes, at their edges. */
import { it as effectIt } from "@effect/vitest"
import { Credentials } from "@latchkey/core"
import { Effect, Fiber, Option, Redacted, TestClock } from "effect"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import * as Http from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import * as AgentClient from "../src/AgentClient.js"
import * as Token from "../src/commands/Token.js"
import * as LocalGate from "../src/LocalGate.js"

/** An agent that does as `answer` says. */
const agent = (answer: Http.RequestListener) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const folder = mkdtempSync(join(tmpdir(), "latchkey-agent-"))
      const socket = join(folder, "agent.sock")
      const server = Http.createServer(answer).listen(socket)
      await once(server, "listening")
      return { folder, server, socket }
    }),
    ({ folder, server }) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
        rmSync(folder, { recursive: true })
      })
  )

/** An agent that never answers; its requests arrive, and their connections close. */
const silentAgent = Effect.gen(function* () {
  const { server, socket } = yield* agent((request) => {
    server.emit("arrived")
    request.socket.once("close", () => server.emit("given up"))
  })
  const arrived = once(server, "arrived")
  const givenUp = once(server, "given up")
  return { socket, arrived: Effect.promise(() => arrived), givenUp: Effect.promise(() => givenUp) }
})

describe("the client", () => {
  effectIt.scoped("gives up after two minutes, and closes its connection", () =>
    Effect.gen(function* () {
      const { arrived, givenUp, socket } = yield* silentAgent
      const asking = yield* Effect.fork(Effect.flip(AgentClient.get(socket, "", "acme/work", 0)))
      yield* arrived
      yield* TestClock.adjust("119 seconds")
      expect(Option.isNone(yield* Fiber.poll(asking))).toBe(true)
      yield* TestClock.adjust("1 second")
      const failure = yield* Fiber.join(asking)
      expect(failure.message).toBe(`The agent at ${socket} does not answer: it took too long.`)
      yield* givenUp
    })
  )

  effectIt.scoped("closes its connection when it is interrupted", () =>
    Effect.gen(function* () {
      const { arrived, givenUp, socket } = yield* silentAgent
      const asking = yield* Effect.fork(AgentClient.get(socket, "", "acme/work", 0))
      yield* arrived
      yield* Fiber.interrupt(asking)
      yield* givenUp
    })
  )

  effectIt.scoped("reads no more of an answer than an agent would send", () =>
    Effect.gen(function* () {
      const { socket } = yield* agent((_, response) => {
        const more = (): void => {
          while (!response.destroyed && response.write("x".repeat(65_536)));
          response.once("drain", more)
        }
        more()
      })
      const failure = yield* Effect.flip(AgentClient.get(socket, "", "acme/work", 0))
      expect(failure).toMatchObject({ reason: "Agent" })
    })
  )
})

describe("a token whose grant was replaced while it was read", () => {
  const of = (token: string, scopes: ReadonlyArray<string>) =>
    Credentials.make({ accessToken: token, scopes, tokenType: "DPoP", expiresAt: 4_102_444_800_000 })
  const unused = () => Effect.die("It is not asked.")
  const manager = (held: Credentials.Credentials): Parameters<typeof Token.from>[0] => ({
    getAccessToken: Effect.succeed(Redacted.make("wide")),
    getAccessTokenFor: unused,
    reject: unused,
    credentials: Effect.succeedSome(held)
  })
  const about = { account: "acme/work", login: "" }

  effectIt.effect("has neither the scopes nor the expiry of the new one", () =>
    Effect.gen(function* () {
      const same = yield* Token.from(manager(of("wide", ["read", "write"])), about, 0)
      expect(same).toMatchObject({ scopes: ["read", "write"], tokenType: "DPoP" })
      expect(Option.isSome(same.expiresAt)).toBe(true)
      const other = yield* Token.from(manager(of("narrow", ["read"])), about, 0)
      expect(other).toMatchObject({ scopes: [], tokenType: "Bearer", expiresAt: Option.none() })
    })
  )
})

describe("a socket that another process made", () => {
  const mine = { uid: 7, mode: 0o140_600 }
  it.each([
    [mine, undefined, true],
    [{ uid: 0, mode: 0o140_600 }, undefined, true],
    [{ uid: 8, mode: 0o140_600 }, undefined, false],
    [{ uid: 7, mode: 0o140_660 }, { uid: 7, mode: 0o40_755 }, false],
    [{ uid: 7, mode: 0o140_666 }, { uid: 7, mode: 0o40_700 }, true],
    [{ uid: 7, mode: 0o140_666 }, { uid: 8, mode: 0o40_700 }, false],
    [undefined, { uid: 7, mode: 0o40_700 }, false]
  ])("%j in %j is private: %s", (socket, directory, expected) => {
    expect(LocalGate.isPrivateSocket(7, socket, directory)).toBe(expected)
  })
})

describe("the path of a socket", () => {
  const sockets = [
    "Num       RefCount Protocol Flags    Type St Inode Path",
    "0000000000000000: 00000002 00000000 00010000 0001 01 11018 /run/my user/agent.sock",
    "ffff9d1c: 00000002 00000000 00010000 0001 01    12 @abstract",
    "0000000000000000: 00000003 00000000 00000000 0001 03 11019",
    ""
  ].join("\n")
  it.each([
    [11018, "/run/my user/agent.sock"],
    [12, "@abstract"],
    [11019, undefined],
    [1, undefined]
  ])("of the inode %d is %s", (inode, path) => {
    expect(LocalGate.socketPath(sockets, inode)).toBe(path)
  })
})
