/**
 * A process that is stopped, or whose event loop is blocked, for longer than every time-out while the token
 * server responds. It uses real processes, sockets and time, because it tests the order in which timers and
 * sockets are handled.
 */
import { beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { bundleOnce } from "../../../.ci/bundleOnce.js"
import { clients } from "./Clients.js"
import type { Job, Order, Outcome } from "./support/stoppedChild.js"

let program = ""
beforeAll(async () => {
  program = await bundleOnce(fileURLToPath(new URL("support/stoppedChild.ts", import.meta.url)))
})

/** How the answer of the server meets the program. */
type Disturbance = (
  answer: { readonly write: (part: "first" | "rest") => void },
  child: ChildProcess
) => Promise<void>

/** A server that rotates, and ends the grant if a spent token comes again. It responds as configured. */
const server = Effect.acquireRelease(
  Effect.promise(async () => {
    const state = { current: "rt-0", alive: true, posts: 0, meet: undefined as Disturbance | undefined }
    const answer = (response: ServerResponse, child: ChildProcess) => {
      const n = ++state.posts
      state.current = `rt-${n}`
      const body = JSON.stringify({
        access_token: `at-${n}`,
        refresh_token: `rt-${n}`,
        token_type: "Bearer",
        expires_in: 3600
      })
      let written = 0
      const write = (part: "first" | "rest") => {
        const end = part === "first" ? 30 : body.length
        if (written === 0)
          response.writeHead(200, { "content-type": "application/json", "content-length": body.length })
        response.write(body.slice(written, end))
        written = end
        if (part === "rest") response.end()
      }
      return state.meet === undefined ? Promise.resolve(write("rest")) : state.meet({ write }, child)
    }
    const children: Array<ChildProcess> = []
    const http = createServer((request, response) => {
      let form = ""
      request.on("data", (chunk: Buffer) => (form += chunk.toString()))
      request.on("end", () => {
        const sent = new URLSearchParams(form).get("refresh_token")
        if (state.alive && sent === state.current) return void answer(response, children[0]!)
        state.alive = false
        response.writeHead(400, { "content-type": "application/json" }).end('{"error":"invalid_grant"}')
      })
    })
    http.listen(0, "127.0.0.1")
    await once(http, "listening")
    return {
      state,
      children,
      http,
      endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}/token`
    }
  }),
  ({ http }) =>
    Effect.sync(() => {
      http.closeAllConnections()
      http.close()
    })
)

const start = (job: Job) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = fork(program, [JSON.stringify(job)], {
        execArgv: [],
        stdio: ["ignore", "inherit", "inherit", "ipc"]
      })
      await once(child, "message")
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const refresh = (child: ChildProcess) =>
  Effect.promise(async () => {
    const said = once(child, "message")
    child.send({ do: "refresh" } satisfies Order)
    return (await said)[0] as Outcome
  })

/** Longer than all time-outs of the program, its lease included. */
const long = 1500

const stopped: Disturbance = async ({ write }, child) => {
  child.kill("SIGSTOP")
  await sleep(50)
  write("rest")
  await sleep(long)
  child.kill("SIGCONT")
}

const blocked: Disturbance = async ({ write }, child) => {
  child.send({ do: "block", millis: long } satisfies Order)
  await sleep(150)
  write("rest")
}

const inTwoParts =
  (disturbance: Disturbance): Disturbance =>
  async ({ write }, child) => {
    write("first")
    await sleep(50)
    await disturbance({ write }, child)
  }

const disturbances: ReadonlyArray<readonly [what: string, disturbance: Disturbance]> = [
  ["stopped", stopped],
  ["blocked", blocked],
  ["stopped in the middle of it", inTwoParts(stopped)],
  ["blocked in the middle of it", inTwoParts(blocked)]
]

// Together, because they wait for most of their time.
describe.each(clients)("an answer to a process over %s", { concurrent: true }, (client) => {
  describe.each([
    ["without a window", false],
    ["with a window", true]
  ] as const)("of a server %s", (_, window) => {
    it.scopedLive(
      "is read though every time-out is over (F48)",
      () =>
        Effect.gen(function* () {
          const { children, endpoint, state } = yield* server
          const child = yield* start({ client, endpoint, window, refreshToken: "rt-0", leaseTtl: 1200 })
          children.push(child)
          for (const [what, disturbance] of disturbances) {
            state.meet = disturbance
            const posts = state.posts + 1
            expect(yield* refresh(child), what).toEqual({ token: `at-${posts}` })
            state.meet = undefined
            // What came was stored: the next refresh sends the new token.
            expect(yield* refresh(child), `after ${what}`).toEqual({ token: `at-${posts + 1}` })
            expect(state, what).toMatchObject({ alive: true, posts: posts + 1 })
          }
        }),
      120_000
    )
  })
})

describe.each(clients)("an answer to a process over %s", (client) => {
  it.scopedLive(
    "that comes after the time-out, but within the lease, is no loss: its callers do not wait for it",
    () =>
      Effect.gen(function* () {
        const { children, endpoint, state } = yield* server
        const child = yield* start({ client, endpoint, window: false, refreshToken: "rt-0", leaseTtl: 3000 })
        children.push(child)
        state.meet = async ({ write }) => {
          write("first")
          // Long after the time-out, so that a machine under load does not stall over both.
          await sleep(1800)
          write("rest")
        }
        const first = yield* refresh(child)
        expect(first).toMatchObject({ error: expect.stringMatching(/^MaybeSent: No answer within 600ms/) })
        state.meet = undefined
        yield* Effect.sleep(1700)
        expect(yield* refresh(child)).toEqual({ token: "at-2" })
        expect(state).toMatchObject({ alive: true, posts: 2 })
      }),
    120_000
  )
})
