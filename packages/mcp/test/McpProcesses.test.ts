/** Processes of their own that share one login in a file. */
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface, type Interface } from "node:readline"
import { fileURLToPath } from "node:url"
import { bundleOnce } from "../../../.ci/bundleOnce.js"
import * as World from "./support/World.js"

const child = fileURLToPath(new URL("child.ts", import.meta.url))

interface Child {
  readonly process: ChildProcess
  readonly lines: Interface
}

const start = (program: string, url: string, path: string) =>
  Effect.acquireRelease(
    Effect.sync((): Child => {
      const child = spawn(process.execPath, [program, url, path], { stdio: ["pipe", "pipe", "inherit"] })
      return { process: child, lines: createInterface({ input: child.stdout }) }
    }),
    ({ process: child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const call = ({ lines, process: child }: Child, word: string) =>
  Effect.async<string>((resume) => {
    lines.once("line", (line) => resume(Effect.succeed(line)))
    child.stdin?.write(`${word}\n`)
  })

it.scopedLive(
  "eight processes on one grant: one login, one refresh an expiry, nobody is logged out",
  () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-mcp-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
      )
      const program = yield* Effect.promise(() => bundleOnce(child))
      const children = yield* Effect.all(
        Array.from({ length: 8 }, () => start(program, world.url, join(folder, "login.json")))
      )
      const round = (word: string) =>
        Effect.all(
          children.map((child) => call(child, word)),
          { concurrency: "unbounded" }
        )
      // Nobody is logged in: one of them asks the user, and the others wait for that.
      expect(yield* round("first")).toEqual(children.map(() => "first ok"))
      expect([world.logins(), world.registrations()]).toEqual([1, 1])
      for (let expiry = 1; expiry <= 5; expiry++) {
        yield* world.endAccessTokens
        expect(yield* round(`expiry-${expiry}`)).toEqual(children.map(() => `expiry-${expiry} ok`))
        expect(world.refreshes()).toBe(expiry)
      }
      expect(world.logins()).toBe(1)
    }),
  120_000
)
