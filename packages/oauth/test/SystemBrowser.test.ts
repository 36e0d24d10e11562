import { describe, expect, it } from "@effect/vitest"
import { SystemBrowser } from "@latchkey/oauth"
import { Effect, Either, Fiber, TestClock } from "effect"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Edition from "../../core/test/support/Edition.js"

const node = (script: string, ...more: ReadonlyArray<string>): SystemBrowser.Command => ({
  program: process.execPath,
  arguments: ["-e", script, ...more]
})

const url = new URL("https://example.com/authorize?a=1&state=%22$(id)%22;x")

describe("the system's browser", () => {
  it.live("gets the URL as one argument, through no shell", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "latchkey-browser-"))
      const file = join(folder, "argument")
      yield* SystemBrowser.openWith(
        node('require("fs").writeFileSync(process.argv[1], process.argv.slice(2).join("\\n"))', file),
        url
      )
      expect(readFileSync(file, "utf8")).toBe(url.href)
      rmSync(folder, { recursive: true })
    })
  )

  it.effect("is not waited for once it has had time to fail", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(SystemBrowser.openWith(node("setTimeout(() => undefined, 5000)"), url))
      yield* TestClock.adjust(1999)
      expect(yield* Edition.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
    })
  )

  it.live("says so where there is none, or it fails", () =>
    Effect.gen(function* () {
      const none = yield* Effect.flip(
        SystemBrowser.openWith({ program: "latchkey-no-such-program", arguments: [] }, url)
      )
      expect(none).toMatchObject({ _tag: "LoginError", reason: "NoBrowser" })
      expect(none.message).toContain("latchkey-no-such-program could not be started (ENOENT)")
      const failed = yield* Effect.flip(SystemBrowser.openWith(node("process.exit(3)"), url))
      expect(failed).toMatchObject({ reason: "NoBrowser" })
      expect(failed.message).toContain("ended with 3")
      expect(failed.message).not.toContain("state")
    })
  )

  it.effect.each(["file:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "app:/x"])(
    "is not given %s",
    (other) =>
      Effect.gen(function* () {
        const result = yield* Effect.either(SystemBrowser.open(new URL(other)))
        expect(Either.isLeft(result) && result.left).toMatchObject({ reason: "NoBrowser" })
      })
  )

  it("is opened by what the platform has for it", () => {
    expect(SystemBrowser.commandFor("darwin").program).toBe("open")
    expect(SystemBrowser.commandFor("linux").program).toBe("xdg-open")
    // `start` would be a shell's.
    expect(SystemBrowser.commandFor("win32")).toEqual({
      program: "rundll32",
      arguments: ["url.dll,FileProtocolHandler"]
    })
  })
})
