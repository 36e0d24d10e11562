/** Whether doctor finds a place that cannot be written before a login or a refresh does. */
import { Effect, Exit, Scope } from "effect"
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Writability from "../src/internal/writability.js"
import * as Desk from "./support/Desk.js"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-writability-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Root may write anywhere: it looks as another user, to whom the folder is given. */
const asUser = <A>(look: () => A): A => {
  if (process.getuid?.() !== 0) return look()
  chownSync(folder, 65_534, 65_534)
  process.seteuid!(65_534)
  try {
    return look()
  } finally {
    process.seteuid!(0)
  }
}

describe("a place to write to", () => {
  it("is well where it is there, or can be made, and nothing is left in it", () => {
    expect(asUser(() => Writability.ofFolder(folder))).toBeUndefined()
    expect(asUser(() => Writability.ofFolder(join(folder, "a", "b", "c")))).toBeUndefined()
    expect(readdirSync(folder)).toEqual([])
    const file = join(folder, "file")
    writeFileSync(file, "kept", { mode: 0o600 })
    expect(Writability.ofFile(file)).toBeUndefined()
    expect(Writability.ofFile(join(folder, "absent"))).toBeUndefined()
    expect(readFileSync(file, "utf8")).toBe("kept")
  })

  it("is not where a folder refuses this user, also one above", () => {
    chmodSync(folder, 0o500)
    const problem = { place: folder, code: "EACCES" }
    expect(asUser(() => Writability.ofFolder(folder))).toEqual(problem)
    expect(asUser(() => Writability.ofFolder(join(folder, "a", "b")))).toEqual(problem)
    chmodSync(folder, 0o700)
  })

  it("is not where a file refuses this user", () => {
    const file = join(folder, "file")
    writeFileSync(file, "")
    chmodSync(file, 0o400)
    expect(asUser(() => Writability.ofFile(file))).toEqual({ place: file, code: "EACCES" })
  })

  it("is not where a file or a broken link is in the place of a folder", () => {
    const file = join(folder, "file")
    writeFileSync(file, "")
    expect(Writability.ofFolder(join(file, "a"))).toEqual({ place: file, code: "ENOTDIR" })
    const link = join(folder, "link")
    symlinkSync(join(folder, "nowhere"), link)
    expect(Writability.ofFolder(join(link, "a"))).toMatchObject({ place: link })
  })

  it.skipIf(process.platform !== "linux")("is not where the system makes no files", () => {
    expect(Writability.ofFolder("/proc/latchkey")).toMatchObject({ place: "/proc" })
  })

  it.each([
    ["EROFS", /read-only/, /mount it writable/],
    ["ENOSPC", /no space left/, /make room/],
    ["EDQUOT", /no space left.*quota/, /make room/],
    ["ENOTDIR", /is not a folder/, /move "\/a b" away/],
    ["EACCES", /cannot be written by this user/, /chmod u\+rwX "\/a b"/],
    ["EPERM", /cannot be written by this user/, /chmod/],
    ["EIO", /cannot be written \(EIO\)/, /check that folder/]
  ])("%s has words of its own, and a remedy", (code, found, mend) => {
    const bare = Writability.describe({ place: "/a b", code })
    expect(bare.found).toMatch(found)
    expect(bare.found).toContain("/a b")
    expect(bare.mend).toMatch(mend)
    expect(bare.mend).not.toContain("set ")
    expect(Writability.describe({ place: "/a b", code }, "XDG_DATA_HOME").mend).toMatch(mend)
    expect(Writability.describe({ place: "/a b", code }, "XDG_DATA_HOME").mend).toContain("set XDG_DATA_HOME")
  })
})

describe("doctor", () => {
  let scope: Scope.CloseableScope
  let desk: Desk.Desk
  beforeEach(async () => {
    scope = Effect.runSync(Scope.make())
    desk = await Effect.runPromise(Scope.extend(Desk.make, scope))
  })
  afterEach(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  it("reports a home that cannot be written, before anything is kept in it (F44)", async () => {
    const file = join(folder, "file")
    writeFileSync(file, "")
    desk.set("XDG_DATA_HOME", file)
    expect(await desk.run("doctor")).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/WRONG files: .*file is not a folder[^]*set XDG_DATA_HOME/)
    })
    const json = JSON.parse((await desk.run("doctor --json")).stdout) as { ok: boolean }
    expect(json.ok).toBe(false)
    desk.set("XDG_DATA_HOME", join(folder, "data"))
    expect(await desk.run("doctor")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("ok    files")
    })
    expect(existsSync(join(folder, "data"))).toBe(false)
  })

  it("reports a folder of the accounts that is a file", async () => {
    mkdirSync(desk.data, { recursive: true, mode: 0o700 })
    writeFileSync(join(desk.data, "accounts"), "", { mode: 0o600 })
    expect(await desk.run("doctor")).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/WRONG files: .*accounts is not a folder/)
    })
  })

  it.skipIf(process.platform !== "linux")("reports a folder of a provider's own file", async () => {
    desk.set("CLAUDE_CONFIG_DIR", "/proc/latchkey")
    const accounts = join(desk.data, "accounts", "claude")
    mkdirSync(accounts, { recursive: true, mode: 0o700 })
    const account = { latchkey: 1, provider: "claude", name: "default", grant: "refresh", settings: {} }
    const text = JSON.stringify({ ...account, home: { kind: "provider" } })
    writeFileSync(join(accounts, "default.json"), text, { mode: 0o600 })
    const { code, stdout } = await desk.run("doctor")
    expect(code).toBe(1)
    expect(stdout).toMatch(/WRONG claude\/default: \/proc cannot be written/)
    expect(stdout).not.toContain("XDG_DATA_HOME")
  })
})
