/** Installs the peers, and what judges campaigns, on first use: the install of the repository stays small. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

interface Manifest {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
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

/** Installs all of `package.json` unless the pinned versions are there. Returns the names of the peers: its dependencies. */
export const installPeers = (): ReadonlyArray<string> => {
  const { dependencies = {}, devDependencies = {} } = read("package.json")
  const pinned = Object.entries({ ...dependencies, ...devDependencies })
  const names = Object.keys(dependencies)
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

/** Builds the packages as they are published, for the bench that loads them in that form. */
export const buildPackages = (): void => {
  const { status } = spawnSync("npm", ["run", "-s", "build"], {
    cwd: join(root, "../.."),
    env: environment,
    stdio: ["ignore", 2, 2]
  })
  if (status !== 0) throw new Error("The packages could not be built: see above.")
}
