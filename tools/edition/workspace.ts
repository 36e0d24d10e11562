/** The generated workspace: its folder, its settings, its manifests. */
import * as fs from "node:fs"
import * as path from "node:path"
import { ts } from "ts-morph"
import { type Manifest, manifestFor } from "./manifests.js"
import { all } from "./packages.js"

export const root = path.resolve(import.meta.dirname, "../..")
export const output = path.join(root, ".edition")
const template = path.join(import.meta.dirname, "template")

/** What this run has written. */
export const written = new Set<string>()

/** Leaves a file alone that says so already: compilers look at its time. */
export const write = (relative: string, text: string): void => {
  const file = path.join(output, relative)
  written.add(file)
  if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === text) return
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

export const copyFile = (relative: string): void => {
  const to = path.join(output, relative)
  fs.mkdirSync(path.dirname(to), { recursive: true })
  fs.copyFileSync(path.join(root, relative), to)
  written.add(to)
}

/** Those of the sources. */
export const settingsOfCompiler = (): { readonly compilerOptions: object } => {
  const file = path.join(root, "tsconfig.base.json")
  return ts.readConfigFile(file, (name) => ts.sys.readFile(name)).config as { compilerOptions: object }
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

/** Writes all that an install and a build need besides the sources. */
export const writeWorkspace = (): void => {
  for (const entry of fs.readdirSync(template)) {
    write(entry, fs.readFileSync(path.join(template, entry), "utf8"))
  }
  const { compilerOptions } = settingsOfCompiler()
  write("tsconfig.base.json", json({ compilerOptions: { ...compilerOptions, plugins: [] } }))
  for (const name of all) {
    const folder = `packages/${name}`
    const manifest = JSON.parse(fs.readFileSync(path.join(root, folder, "package.json"), "utf8")) as Manifest
    write(`${folder}/package.json`, json(manifestFor(manifest)))
    for (const file of ["LICENSE", "CHANGELOG.md", "tsconfig.json", "providers.schema.json"]) {
      if (fs.existsSync(path.join(root, folder, file))) copyFile(`${folder}/${file}`)
    }
  }
  const ofSnippets = {
    tsBuildInfoFile: "node_modules/.cache/snippets.tsbuildinfo",
    moduleDetection: "force",
    // With the built packages.
    customConditions: [],
    // What a page leaves out for brevity is no error in it.
    noUnusedLocals: false,
    noUnusedParameters: false
  }
  write(
    "tsconfig.snippets.json",
    json({ extends: "./tsconfig.json", include: ["snippets"], compilerOptions: ofSnippets })
  )
}
