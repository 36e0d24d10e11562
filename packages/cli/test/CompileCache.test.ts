/** Where compiled code is kept, and where it is not. */
import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import * as Module from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as CompileCache from "../src/internal/compileCache.js"

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "latchkey-compiled-"))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

describe("the directory of compiled code", () => {
  it.each([
    [{ HOME: "/home/ada" }, "/home/ada/.cache/latchkey/compiled"],
    [{ HOME: "/home/ada", XDG_CACHE_HOME: "/var/ada" }, "/var/ada/latchkey/compiled"],
    [{ HOME: "/home/ada", XDG_CACHE_HOME: "relative" }, "/home/ada/.cache/latchkey/compiled"],
    [{ HOME: "relative" }, undefined],
    [{}, undefined]
  ])("of %o is %s", (environment, expected) => {
    expect(CompileCache.directoryIn(environment)).toBe(expected)
  })

  it("is made for this user only, and refused if others may write there", () => {
    const directory = join(home, ".cache", "latchkey", "compiled")
    expect(CompileCache.isPrivate(directory)).toBe(true)
    expect(statSync(directory).mode & 0o777).toBe(0o700)
    chmodSync(directory, 0o770)
    expect(CompileCache.isPrivate(directory)).toBe(false)
  })

  it.each(["/dev/null", "/proc", "/no/home"])(
    "may be missing, as below %s: the command runs without it",
    (home) => {
      expect(() => CompileCache.isPrivate(CompileCache.directoryIn({ HOME: home })!)).toThrow()
      expect(() => CompileCache.enable({ HOME: home })).not.toThrow()
    }
  )

  it("is used by the command wherever Node can", () => {
    const bin = join(import.meta.dirname, "../src/bin.ts")
    const args = ["--conditions=@latchkey/source", "--import", "tsx", bin, "--version"]
    const env = { PATH: process.env["PATH"], HOME: home }
    expect(execFileSync(process.execPath, args, { cwd: import.meta.dirname, env, encoding: "utf8" })).toMatch(
      /^\d+\.\d+\.\d+\n/
    )
    expect(existsSync(join(home, ".cache/latchkey/compiled"))).toBe("enableCompileCache" in Module)
  })
})
