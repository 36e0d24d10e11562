/** Directories are created, or the failure is reported soon. */
import { PrivateDirectory } from "@latchkey/storage"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"

let root: string
beforeEach(() => void (root = mkdtempSync(join(tmpdir(), "latchkey-directories-"))))
afterEach(() => rmSync(root, { recursive: true, force: true }))

const codeOf = (path: string): Promise<unknown> =>
  PrivateDirectory.make(path).then(
    () => "made",
    (error: unknown) => (error as { readonly code?: unknown }).code
  )

it("what is missing is made for its user alone, what is there stays as it is", async () => {
  mkdirSync(join(root, "there"))
  chmodSync(join(root, "there"), 0o755)
  await PrivateDirectory.make(join(root, "there", "a", "b", "c"))
  const modes = ["there", "there/a", "there/a/b", "there/a/b/c"].map(
    (at) => statSync(join(root, at)).mode & 0o777
  )
  expect(modes).toEqual([0o755, 0o700, 0o700, 0o700])
  await PrivateDirectory.make(join(root, "there", "a", "b", "c"))
  await PrivateDirectory.make("/")
})

it("twenty at once make the same", async () => {
  const path = join(root, ..."abcdefgh")
  await Promise.all(Array.from({ length: 20 }, () => PrivateDirectory.make(path)))
  expect(statSync(path).isDirectory()).toBe(true)
})

it("follows links to directories", async () => {
  mkdirSync(join(root, "real"))
  symlinkSync(join(root, "real"), join(root, "link"))
  await PrivateDirectory.make(join(root, "link", "a"))
  expect(existsSync(join(root, "real", "a"))).toBe(true)
})

it("says what stands in the way", async () => {
  writeFileSync(join(root, "file"), "")
  symlinkSync(join(root, "nowhere"), join(root, "dangling"))
  symlinkSync(join(root, "circle"), join(root, "circle"))
  expect(await codeOf(join(root, "file"))).toBe("ENOTDIR")
  expect(await codeOf(join(root, "file", "a", "b"))).toBe("ENOTDIR")
  expect(await codeOf(join(root, "dangling", "a"))).toBe("EEXIST")
  expect(await codeOf(join(root, "circle", "a"))).toBe("ELOOP")
  expect(await codeOf(join(root, "x".repeat(300), "a"))).toBe("ENAMETOOLONG")
})

it.runIf(existsSync("/proc/self"))("ends where the system lets nothing be made", async () => {
  for (const path of [
    "/proc/latchkey",
    "/proc/latchkey/a/b",
    `/proc/${process.pid}/latchkey/a`,
    "/proc/self/fd/x/y"
  ]) {
    expect([path, await codeOf(path)]).toEqual([path, expect.stringMatching(/^E[A-Z]+$/)])
  }
})
