/**
 * A fresh token in a fiber of the Effect 4 edition, in the same process as Effect 3 and the peers: its program has its own
 * copy of Effect.
 *
 *     const four = await editionFiber(context.packages)
 *     const candidates = { ...others, ...(four !== undefined && { [inFiberOnEffect4]: four }) }
 *
 * `npm run edition` makes `.edition`, which git ignores. That needs Node 22.19; what it makes runs here on Node 20 too.
 */
import { build } from "esbuild"
import { existsSync, rmSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { options } from "../Bundle.js"
import type { Candidate } from "../Measure.js"

/** The name of its row. */
export const inFiberOnEffect4 = "latchkey, yielded in a fiber, Effect 4"

/** What to print if there is no edition to measure. */
export const noEdition =
  "Effect 4 is not measured: there is no .edition. `npm run edition` makes it, on Node 24."

/** Undefined if there is no edition. `packages` is the directory of this repository's packages. */
export const editionFiber = async (packages: string): Promise<Candidate | undefined> => {
  const edition = join(packages, "../.edition")
  const isMade = ["programs/fiber.ts", "node_modules/effect"].every((part) => existsSync(join(edition, part)))
  return isMade ? await fiberOf(packages, join(edition, "programs")) : undefined
}

/** The candidate of an edition's programs: `tools/edition/programs`, or those that are made of them. */
export const fiberOf = async (packages: string, programs: string): Promise<Candidate> => {
  const name = `fiber-${process.pid}-${programs.includes(".edition") ? 4 : 3}.mjs`
  const outfile = join(packages, "bench/node_modules/.cache", name)
  await build({ ...options, entryPoints: [join(programs, "fiber.ts")], outfile })
  try {
    const { open } = (await import(pathToFileURL(outfile).href)) as {
      readonly open: () => Promise<Candidate>
    }
    return await open()
  } finally {
    rmSync(outfile, { force: true })
  }
}
