/** Bundles the commands that are measured, or started thousands of times. */
import { build, type BuildOptions } from "esbuild"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** Packages that cannot be bundled, or are loaded only on use. */
const external = ["esbuild", "fs-native-extensions", "libsql", "pg", "ioredis"]

/** How everything is bundled that is measured. */
export const options = {
  bundle: true,
  minify: true,
  platform: "node",
  format: "esm",
  conditions: ["@latchkey/source"],
  logLevel: "error"
} as const satisfies BuildOptions

/**
 * Bundles a command of this package as plain JavaScript, for the life of this process. It starts fast and
 * runs like a build. Imports on demand are in files of their own.
 */
export const bundleCommand = (name: string): Promise<string> => {
  const made = commands.get(name) ?? bundle(name, `./commands/${name}.ts`)
  commands.set(name, made)
  return made
}

const commands = new Map<string, Promise<string>>()

/** Bundles the program that measures. The measured libraries stay as they were installed. */
export const bundleBench = (libraries: ReadonlyArray<string>): Promise<string> =>
  bundle("main", "../peers/main.ts", libraries)

const bundle = async (
  name: string,
  source: string,
  libraries: ReadonlyArray<string> = []
): Promise<string> => {
  const outdir = fileURLToPath(new URL(`../node_modules/.cache/${name}-${process.pid}`, import.meta.url))
  const entry = fileURLToPath(new URL(source, import.meta.url))
  await build({
    ...options,
    entryPoints: [entry],
    outdir,
    outExtension: { ".js": ".mjs" },
    splitting: true,
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
    },
    external: [...external, ...libraries]
  })
  process.once("exit", () => rmSync(outdir, { recursive: true, force: true }))
  return join(outdir, `${name}.mjs`)
}
