/*
 * node .ci/address.mjs [URL]: writes the address of the public repository into every package and README that
 * names it. Without an argument it uses the address in the root package.json, and corrects what differs from
 * it.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { published } from "./registry.mjs"

const root = join(import.meta.dirname, "..")
const read = (path) => readFileSync(join(root, path), "utf8")
const write = (path, text) => {
  if (text !== read(path)) writeFileSync(join(root, path), text)
}

/** The three fields through which a package on a registry links to the repository. */
export const fieldsOf = (address, name) => ({
  homepage: `${address}/tree/main/packages/${name}#readme`,
  bugs: { url: `${address}/issues` },
  repository: { type: "git", url: `git+${address}.git`, directory: `packages/${name}` }
})

export const addressOf = (manifest) => manifest.repository.url.replace(/^git\+/, "").replace(/\.git$/, "")

/** The fields, where npm puts them: before the licence. */
const withFields = (manifest, fields) =>
  Object.fromEntries(
    Object.entries(manifest)
      .filter(([key]) => !(key in fields))
      .flatMap((entry) => (entry[0] === "license" ? [...Object.entries(fields), entry] : [entry]))
  )

if (import.meta.filename === process.argv[1]) {
  const manifest = JSON.parse(read("package.json"))
  const before = addressOf(manifest)
  const address = (process.argv[2] ?? before).replace(/\/$|\.git$/g, "")
  write("package.json", read("package.json").replaceAll(before, address))
  for (const name of published) {
    const path = `packages/${name}/package.json`
    const own = JSON.parse(read(path))
    write(path, `${JSON.stringify(withFields(own, fieldsOf(address, name)), null, 2)}\n`)
    write(`packages/${name}/README.md`, read(`packages/${name}/README.md`).replaceAll(before, address))
  }
}
