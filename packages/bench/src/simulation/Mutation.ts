/** Runs the simulation on a core that was broken on purpose. */
import { build, type Plugin } from "esbuild"
import { readFileSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { Edit, Mutant } from "./Mutants.js"
import type * as Simulate from "./Simulate.js"

const here = dirname(fileURLToPath(import.meta.url))
const core = join(here, "../../../core/src")
const cache = join(here, "../../node_modules/.cache", `mutants-${process.pid}`)

process.once("exit", () => rmSync(cache, { recursive: true, force: true }))

/** A text as it stands in the source, whatever the spaces and line breaks in it. */
const pattern = (text: string): RegExp =>
  new RegExp(
    text
      .trim()
      .split(/\s+/)
      .map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
      .join("\\s+"),
    "g"
  )

/** The source with the edit made; an error where its text is not there exactly once. */
export const applyEdit = (source: string, { file, find, put }: Edit): string => {
  const places = [...source.matchAll(pattern(find))]
  const [place] = places
  if (place === undefined || places.length > 1) {
    throw new Error(`${file} has ${places.length} places for the mutant's text, not one: ${find}`)
  }
  return source.slice(0, place.index) + put + source.slice(place.index + place[0].length)
}

const mutate = (mutant: Mutant): Plugin => ({
  name: "mutate",
  setup: ({ onLoad }) => {
    onLoad({ filter: /packages\/core\/src\/.*\.ts$/ }, ({ path }) => {
      const edits = mutant.edits.filter(({ file }) => join(core, file) === path)
      return { loader: "ts", contents: edits.reduce(applyEdit, readFileSync(path, "utf8")) }
    })
  }
})

/** An edit for each file that exists, each with its text in it once. */
export const check = (mutant: Mutant): void => {
  const sources = new Map<string, string>()
  for (const edit of mutant.edits) {
    const source = sources.get(edit.file) ?? readFileSync(join(core, edit.file), "utf8")
    sources.set(edit.file, applyEdit(source, edit))
  }
}

/** The simulation over the mutant. */
export const load = async (mutant: Mutant): Promise<typeof Simulate> => {
  check(mutant)
  const outfile = join(cache, `${mutant.name.replaceAll(/\W+/g, "-")}.mjs`)
  await build({
    entryPoints: [join(here, "Simulate.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["@latchkey/source"],
    external: ["effect", "effect/*"],
    plugins: [mutate(mutant)],
    logLevel: "error"
  })
  return import(/* @vite-ignore */ pathToFileURL(outfile).href) as Promise<typeof Simulate>
}
