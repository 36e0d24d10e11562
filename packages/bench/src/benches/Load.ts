/** `load`: the time and bytes of an import beyond those of its imports from `effect`. */
import { build } from "esbuild"
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import type { Bench } from "../Bench.js"
import { compare, wholeProcess } from "../Measure.js"
import { durations, exactly, ratioOf, type Row, rowOf, type Table } from "../Report.js"

const star = (specifiers: ReadonlyArray<string>): string =>
  specifiers.map((specifier, n) => `export * as m${n} from ${JSON.stringify(specifier)}\n`).join("")

/** A package's imports from `effect`, to load without using them. */
const importedBy = (sources: string): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const file of readdirSync(sources, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts") || file.startsWith("testing")) continue
    const imports = readFileSync(join(sources, file), "utf8").matchAll(
      /^import (?!type ).* from "(effect\/[^"]+)"/gm
    )
    for (const [, specifier] of imports) found.add(specifier ?? "")
  }
  return [...found].sort()
}

const bundled = async (directory: string, code: string): Promise<number> => {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: directory },
    bundle: true,
    minify: true,
    write: false,
    platform: "node",
    format: "esm",
    conditions: ["@latchkey/source"],
    logLevel: "error"
  })
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length
}

const onlyNode = "node alone"
const base = "effect/Effect, effect/Schema"

export const load: Bench = async ({ libraries, packages, small }) => {
  const directory = join(packages, "bench", "node_modules", ".cache", `load-${process.pid}`)
  mkdirSync(directory, { recursive: true })
  try {
    const core = join(packages, "core")
    const needs = importedBy(join(core, "src"))
    const fromEffect = "all that core imports from effect"
    const specifiers = new Map<string, ReadonlyArray<string>>([
      [base, ["effect/Effect", "effect/Schema"]],
      [fromEffect, needs],
      ["@latchkey/core", ["@latchkey/core"]],
      ["@latchkey/core/TokenManager", ["@latchkey/core/TokenManager"]],
      ...libraries.map((name) => [name, [name]] as const)
    ])
    const programs = [[onlyNode, []] as const, ...specifiers].map(([name, all], n) => {
      const file = join(directory, `program-${n}.mjs`)
      writeFileSync(file, all.map((s) => `import ${JSON.stringify(s)}\n`).join(""))
      return [name, wholeProcess([file])] as const
    })
    const times = await compare(Object.fromEntries(programs), { operations: 1, rounds: small ? 1 : 21 })
    const imports = durations("A process that imports it and ends", "ms", times)

    const sizes: Array<Row> = []
    const alone = await bundled(directory, star(specifiers.get(base) ?? []))
    const over = async (name: string, beside: ReadonlyArray<string>, less: number): Promise<void> => {
      const size = (await bundled(directory, star([...beside, ...(specifiers.get(name) ?? [])]))) - less
      sizes.push({ name, value: exactly(size / 1000), ratio: exactly(size / alone) })
    }
    sizes.push({ name: base, value: exactly(alone / 1000), ratio: exactly(1) })
    for (const name of [fromEffect, "@latchkey/core", "@latchkey/core/TokenManager"]) {
      await over(name, specifiers.get(base) ?? [], alone)
    }
    const allNeeds = [...new Set([...(specifiers.get(base) ?? []), ...needs])]
    const needed = await bundled(directory, star(allNeeds))
    for (const name of ["@latchkey/core", "@latchkey/core/TokenManager"]) {
      const own = (await bundled(directory, star([...allNeeds, name]))) - needed
      sizes.push({ name: `${name}, its own code`, value: exactly(own / 1000), ratio: exactly(own / alone) })
    }
    for (const name of libraries) await over(name, [], 0)
    const bundles: Table = {
      title: "Bundled by esbuild, min + gzip; Latchkey over effect/Effect and effect/Schema",
      unit: "kB",
      rows: sizes
    }
    return {
      tables: [imports, bundles],
      goals: [
        {
          what: "kB of @latchkey/core over effect/Effect and effect/Schema",
          found: rowOf(bundles, "@latchkey/core")?.value.median ?? Number.NaN,
          atMost: 8
        },
        {
          what: "import of @latchkey/core against that of what it imports from effect",
          found: ratioOf(imports, "@latchkey/core", fromEffect),
          atMost: 1.15
        }
      ]
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
