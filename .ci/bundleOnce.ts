/** Programs that tests start, each bundled once in a run of the tests, by the first test file that needs it. */
import { build } from "esbuild"
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs"
import { basename, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { inject } from "vitest"

declare module "vitest" {
  interface ProvidedContext {
    /** A directory for this run. */
    readonly scratch: string
  }
}

/** The directory that `make` fills. Other workers wait for it. */
export const makeOnce = async (name: string, make: (outdir: string) => unknown): Promise<string> => {
  const made = join(inject("scratch"), name)
  const part = `${made}.part`
  for (;;) {
    if (existsSync(made)) return made
    try {
      mkdirSync(part)
    } catch {
      await setTimeout(20)
      continue
    }
    try {
      if (existsSync(made)) return made
      await make(join(part, "files"))
      renameSync(join(part, "files"), made)
    } finally {
      rmSync(part, { recursive: true })
    }
  }
}

/** These load native code, or parts of themselves as they run. */
const external = ["fs-native-extensions", "libsql", "pg", "pg-cursor", "ioredis", "@napi-rs/keyring"]

/**
 * The path of a program in one file, which starts several times faster than its sources. A part of its own for what
 * is imported on demand would lose the names of a CommonJS package, as of undici.
 */
export const bundleOnce = async (source: string): Promise<string> => {
  const directory = await makeOnce(source.replace(/\W+/g, "-"), (outdir) =>
    build({
      entryPoints: [source],
      outdir,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      minify: true,
      platform: "node",
      format: "esm",
      conditions: ["@latchkey/source"],
      external,
      // For packages that call require.
      banner: {
        js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);'
      },
      logLevel: "error"
    })
  )
  return join(directory, `${basename(source, ".ts")}.mjs`)
}
