/*
 * Bundles the command, so that it starts fast: dist/bundle/bin.js, with the imports on demand in files of
 * their own, and the licences of the bundled packages. Native modules stay outside. `npm run build` and
 * `npm pack` run this.
 */
import { build } from "esbuild"
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"

const here = import.meta.dirname
/** The tests have their own bundle. */
const outdir = resolve(process.argv[2] ?? join(here, "dist/bundle"))
rmSync(outdir, { recursive: true, force: true })

const { metafile } = await build({
  entryPoints: [join(here, "src/bin.ts")],
  outdir,
  bundle: true,
  splitting: true,
  minifySyntax: true,
  minifyWhitespace: true,
  platform: "node",
  target: "node20.19",
  format: "esm",
  conditions: ["@latchkey/source"],
  external: ["@napi-rs/keyring", "fs-native-extensions", "libsql"],
  // For packages that call require.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);'
  },
  chunkNames: "[name]-[hash]",
  metafile: true,
  logLevel: "warning"
})

const packages = new Set()
for (const input of Object.keys(metafile.inputs)) {
  const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)
  if (found !== null) packages.add(found[1])
}
const licences = [...packages].sort().map((folder) => {
  const { license, name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
  const text = file === undefined ? "" : `\n${readFileSync(join(folder, file), "utf8").trim()}\n`
  return `${name} ${version} (${license})\n${text}`
})
writeFileSync(join(outdir, "LICENSES.txt"), `${licences.join(`\n${"-".repeat(80)}\n\n`)}`)
if (!existsSync(join(outdir, "bin.js"))) throw new Error(`nothing was written to ${dirname(outdir)}`)
