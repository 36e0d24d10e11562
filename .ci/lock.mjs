/*
 * Checks that an install followed the package-lock.json of a folder, by default the root. Entries for
 * optional binaries of other platforms may differ, depending on the registry. All other entries must be as
 * committed.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"

const lock = `${process.argv[2] ?? "."}/package-lock.json`
const packages = (text) => Object.entries(JSON.parse(text).packages)
const needed = (entries) =>
  new Map(
    entries.filter(([, entry]) => !entry.optional).map(([path, entry]) => [path, JSON.stringify(entry)])
  )

const installed = needed(packages(readFileSync(lock, "utf8")))
const committed = needed(packages(execFileSync("git", ["show", `HEAD:./${lock}`], { encoding: "utf8" })))
const differing = [...new Set([...installed.keys(), ...committed.keys()])].filter(
  (path) => installed.get(path) !== committed.get(path)
)
if (differing.length > 0) {
  console.error(`${lock} does not say what was installed: ${differing.join(", ")}`)
  process.exitCode = 1
}
