import { assert, describe, it } from "@effect/vitest"
import { build } from "esbuild"
import * as fs from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { allowed, page } from "./support/peers.js"

const source = fileURLToPath(new URL("../src", import.meta.url))

/** What a module makes Node load before any of its code runs: a client that is not installed must not be there. */
const loads = async (module: string): Promise<ReadonlyArray<string>> => {
  const { metafile } = await build({
    entryPoints: [`${source}/${module}.ts`],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    packages: "external",
    logLevel: "error"
  })
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports)
  return imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => path)
}

interface Manifest {
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>
}

describe("without the clients of other modules", () => {
  it.each(Object.entries(allowed))("%s can be imported", async (module, own) => {
    const manifest = JSON.parse(await fs.readFile(`${source}/../package.json`, "utf8")) as Manifest
    const optional = Object.keys(manifest.peerDependenciesMeta)
    const found = (await loads(module)).flatMap((path) =>
      optional.filter((name) => path === name || path.startsWith(`${name}/`))
    )
    assert.deepStrictEqual([...new Set(found)].sort(), own)
  })
})

describe("the install line", () => {
  const clients = ["Sqlite", "Postgres", "Redis"]
  it.each(clients)("of %s in the guide names all that it imports, by its version (F41)", async (module) => {
    const guide = await fs.readFile(`${source}/../../docs/guide/${page}`, "utf8")
    const line =
      guide.split("\n").find((text) => text.startsWith("npm install") && text.endsWith(`# ${module}`)) ?? ""
    const manifest = JSON.parse(await fs.readFile(`${source}/../package.json`, "utf8")) as {
      readonly peerDependencies: Readonly<Record<string, string>>
    }
    for (const name of allowed[module]!) {
      const [, version = "", minor = ""] = /^\^(\d+)\.(\d+)/.exec(manifest.peerDependencies[name]!) ?? []
      assert.include(line, ` ${name}@${version === "0" ? `0.${minor}` : version}`)
    }
  })
})
