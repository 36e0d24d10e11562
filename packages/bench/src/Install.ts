/** Installs the peers on first use, so that the install of the repository stays small. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

interface Manifest {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
}

const read = (path: string): Manifest => JSON.parse(readFileSync(join(root, path), "utf8")) as Manifest

const versionOf = (name: string): string | undefined => {
  try {
    return read(`node_modules/${name}/package.json`).version
  } catch {
    return undefined
  }
}

/** The variables that `npm run` sets for the repository do not apply to this package. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(config_local_prefix|package_|lifecycle_)/.test(name))
)

/** Installs the peers unless the pinned versions are there. Returns their names. */
export const installPeers = (): ReadonlyArray<string> => {
  const pinned = Object.entries(read("package.json").dependencies ?? {})
  const names = pinned.map(([name]) => name)
  if (pinned.every(([name, version]) => versionOf(name) === version)) return names
  process.stderr.write("installing the libraries that are measured\n")
  const { status } = spawnSync(
    "npm",
    ["install", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved"],
    { cwd: root, env: environment, stdio: ["ignore", 2, 2] }
  )
  if (status !== 0) throw new Error("The peers could not be installed: see above, and packages/bench.")
  return names
}

/** Builds the core as it is published, for the benches that load it in that form. */
export const buildCore = (): void => {
  const compiler = fileURLToPath(import.meta.resolve("typescript/bin/tsc"))
  const { status } = spawnSync(process.execPath, [compiler, "-b", join(root, "../core")], {
    stdio: ["ignore", 2, 2]
  })
  if (status !== 0) throw new Error("The core could not be built: see above.")
}
