/** `load`: the import of what a small program uses, against that of what it imports from Effect. */
import { build } from "esbuild"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Bench } from "../Bench.js"
import { compare, wholeProcess } from "../Measure.js"
import { durations, ratioOf } from "../Report.js"

const used = [
  "effect/Effect",
  "effect/Layer",
  "@effect/platform/FetchHttpClient",
  "@latchkey/core/TokenManager",
  "@latchkey/oauth/RefreshToken",
  "@latchkey/storage/File"
]

const program = (specifiers: ReadonlyArray<string>): string =>
  specifiers.map((specifier) => `import ${JSON.stringify(specifier)}\n`).join("")

/** What the program and Latchkey's modules in it import from Effect and its platform. */
const importedFromEffect = async (file: string): Promise<ReadonlyArray<string>> => {
  const { metafile } = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    outdir: "nowhere",
    external: ["effect", "@effect/*"],
    ignoreAnnotations: true,
    logLevel: "error"
  })
  const imports = Object.values(metafile.inputs).flatMap((input) => input.imports)
  const found = imports.map(({ path }) => path).filter((path) => /^(?:effect|@effect\/platform)\//.test(path))
  return [...new Set(found)].sort()
}

export const load: Bench = async ({ packages, small }) => {
  const directory = mkdtempSync(join(packages, "bench/node_modules/.load-"))
  const whole = (name: string, specifiers: ReadonlyArray<string>) => {
    const file = join(directory, name)
    writeFileSync(file, program(specifiers))
    return { file, run: wholeProcess([file]) }
  }
  try {
    const small_ = whole("small.mjs", used)
    const names = { nothing: "node alone", effect: "what it imports from Effect", all: "a small program" }
    const candidates = {
      [names.nothing]: whole("nothing.mjs", []).run,
      [names.effect]: whole("effect.mjs", await importedFromEffect(small_.file)).run,
      [names.all]: small_.run
    }
    const table = durations(
      "A process that imports it and ends",
      "ms",
      await compare(candidates, { operations: 1, rounds: small ? 1 : 31 })
    )
    return {
      tables: [table],
      goals: [
        {
          row: "the import of what a small program uses",
          against: "what it imports from Effect",
          limits: [{ atMost: 1.15, found: ratioOf(table, names.all, names.effect) }]
        }
      ]
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
