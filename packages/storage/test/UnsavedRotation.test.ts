/**
 * A storage that fails after a refresh, for longer than a lease lasts: real leases are renewed until it works
 * again.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as File from "@latchkey/storage/File"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Path from "node:path"
import { open } from "./databases.js"
import { freshDirectory, freshPath, spawn } from "./fixtures.js"
import { manage } from "./manageJob.js"

/** Rotates without a window, and ends the grant where a spent token comes again. */
const strictServer = Effect.acquireRelease(
  Effect.promise(async () => {
    const state = { current: "rt-1", posts: [] as Array<string> }
    const http = createServer((request, response) => {
      let sent = ""
      request.on("data", (chunk: Buffer) => (sent += chunk.toString()))
      request.on("end", () => {
        state.posts.push(sent)
        if (sent !== state.current) {
          state.current = ""
          return void response.writeHead(400).end()
        }
        response.end((state.current = `rt-${state.posts.length + 1}`))
      })
    })
    http.listen(0, "127.0.0.1")
    await once(http, "listening")
    return { state, http, endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}/` }
  }),
  ({ http }) =>
    Effect.sync(() => {
      http.closeAllConnections()
      http.close()
    })
)

/** Expired. */
const first = Entry.first(
  Credentials.make({ accessToken: "of-rt-1", refreshToken: "rt-1", obtainedAt: 1e12, expiresAt: 1e12 + 1 })
)

/** Some seconds of a lease that lasts for 1.2. */
const failing = 8

const stores = {
  file: Effect.map(freshPath, (path) => () => File.make({ path })),
  sqlite: Effect.map(
    freshDirectory,
    (directory) => () => open({ kind: "sqlite", location: Path.join(directory, "it.db"), name: "latchkey" })
  )
}

describe("a rotation that storage does not take for longer than a lease lasts", () => {
  it.scopedLive.each(["file", "sqlite"] as const)(
    "is not spent again by a peer on %s",
    (kind) =>
      Effect.gen(function* () {
        const { endpoint, state } = yield* strictServer
        const handle = yield* stores[kind]
        const [one, two] = [yield* handle(), yield* handle()]
        yield* one.storage.commit(first, Option.none())
        const a = yield* manage(one, endpoint, failing)
        const b = yield* manage(two, endpoint, 0)
        assert.strictEqual(Redacted.value(yield* a.getAccessToken), "of-rt-2")
        const peer = yield* Effect.fork(b.getAccessToken)
        assert.strictEqual(Redacted.value(yield* Fiber.join(peer)), "of-rt-2")
        assert.deepStrictEqual(state.posts, ["rt-1"])
        assert.strictEqual(Redacted.value(yield* b.refresh), "of-rt-3")
      }),
    60_000
  )

  it.scopedLive(
    "is not spent again by another process on a file",
    () =>
      Effect.gen(function* () {
        const { endpoint, state } = yield* strictServer
        const path = yield* freshPath
        const { storage } = yield* File.make({ path })
        yield* storage.commit(first, Option.none())
        const a = yield* spawn({ path, do: "manage", endpoint, failing })
        assert.deepStrictEqual(yield* a.line, Option.some("of-rt-2"))
        const b = yield* spawn({ path, do: "manage", endpoint, failing: 0 })
        assert.deepStrictEqual(yield* b.line, Option.some("of-rt-2"))
        assert.deepStrictEqual(state.posts, ["rt-1"])
        yield* a.nudge
        yield* b.nudge
        assert.deepStrictEqual([yield* a.exit, yield* b.exit], [0, 0])
      }),
    60_000
  )

  it.scopedLive(
    "is saved by a process that ends in the meantime",
    () =>
      Effect.gen(function* () {
        const { endpoint, state } = yield* strictServer
        const path = yield* freshPath
        const { storage } = yield* File.make({ path })
        yield* storage.commit(first, Option.none())
        const a = yield* spawn({ path, do: "manage", endpoint, failing: 4 })
        assert.deepStrictEqual(yield* a.line, Option.some("of-rt-2"))
        yield* a.nudge
        assert.strictEqual(yield* a.exit, 0)
        const b = yield* spawn({ path, do: "manage", endpoint, failing: 0 })
        assert.deepStrictEqual(yield* b.line, Option.some("of-rt-2"))
        assert.deepStrictEqual(state.posts, ["rt-1"])
      }),
    60_000
  )
})
