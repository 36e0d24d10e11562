/**
 * Mounts that a test creates and removes. If this process may not mount, the tests that need them are
 * skipped.
 */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { program } from "../../../../.ci/programs.js"

const run = (command: string, ...args: ReadonlyArray<string>): void =>
  void ChildProcess.execFileSync(command, args, { stdio: "ignore" })

/** Whether this process may mount: on Linux, as root, in a container that lets it. */
const canMount: boolean = (() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false
  const directory = fs.mkdtempSync(Path.join(tmpdir(), "latchkey-mount-"))
  try {
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory)
    run("umount", directory)
    return true
  } catch {
    return false
  } finally {
    fs.rmdirSync(directory)
  }
})()

export const mounts = program(
  "full, read-only and single mounted files",
  "run the tests as root on Linux, with mount of util-linux",
  canMount ? "mount" : undefined
)

const mounted = (at: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => run("mount", ...args, at)),
    () => Effect.sync(() => run("umount", "-l", at))
  )

/** A file system of its own, of so many KiB. */
export const tmpfs = (at: string, kib: number) => mounted(at, "-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs")

/** What is at `what`, seen at `at` too. */
export const bind = (what: string, at: string) => mounted(at, "--bind", what)

/** A mount that can be read alone from now on; for as long as the scope is open. */
export const readOnly = (at: string) =>
  Effect.acquireRelease(
    Effect.sync(() => run("mount", "-o", "remount,ro,bind", at)),
    () => Effect.sync(() => run("mount", "-o", "remount,rw,bind", at))
  )
