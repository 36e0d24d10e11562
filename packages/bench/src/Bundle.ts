/** The commands that are measured, or started thousands of times, run bundled. */
import { build } from "esbuild"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** What cannot be bundled, or is loaded only where it is used. */
const external = ["esbuild", "fs-native-extensions", "libsql", "pg", "ioredis"]

/**
 * A command of this package as plain JavaScript, for the life of this process: it starts fast, runs as a
 * build would, and what is imported on demand is in files of its own.
 */
export const bundleCommand = (name: string): Promise<string> => {
  const made = commands.get(name) ?? bundle(name, `./commands/${name}.ts`)
  commands.set(name, made)
  return made
}

const commands = new Map<string, Promise<string>>()

/** The program that measures; the libraries that it measures stay as they were installed. */
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
    entryPoints: [entry],
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    minify: true,
    platform: "node",
    format: "esm",
    conditions: ["@latchkey/source"],
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
    },
    external: [...external, ...libraries],
    logLevel: "error"
  })
  process.once("exit", () => rmSync(outdir, { recursive: true, force: true }))
  return join(outdir, `${name}.mjs`)
}
