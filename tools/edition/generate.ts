/** Generates the Effect 4 edition from the Effect 3 sources: `npm run edition`. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Project, type SourceFile, ts } from "ts-morph"
import type { Problem } from "./Edit.js"
import { type Manifest, manifestFor } from "./manifests.js"
import { all, pages } from "./packages.js"
import { rules } from "./rules/index.js"
import { translate } from "./translate.js"

const root = path.resolve(import.meta.dirname, "../..")
const output = path.join(root, ".edition")
const modules = path.join(import.meta.dirname, "modules")
const template = path.join(import.meta.dirname, "template")
const chosen = process.argv.slice(2)
const packages = chosen.length === 0 ? all : chosen

const began = Date.now()
const { config } = ts.readConfigFile(path.join(root, "tsconfig.base.json"), (file) => ts.sys.readFile(file))
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
const project = new Project({
  compilerOptions: { ...options, composite: false, incremental: false, noEmit: true, allowJs: false },
  skipAddingFilesFromTsConfig: true
})
for (const name of packages) {
  project.addSourceFilesAtPaths([
    `${root}/packages/${name}/src/**/*.ts`,
    `${root}/packages/${name}/test/**/*.ts`
  ])
}

const fence = /^(```ts\b.*\n)([^]*?)^```$/gm
/** The snippets of pages, as files beside them. All are there before a type is asked for: each new file starts over. */
const snippets = new Map(
  [...pages, ...packages.map((name) => `packages/${name}/README.md`)].map((page) => {
    const markdown = fs.readFileSync(path.join(root, page), "utf8")
    const files = [...markdown.matchAll(fence)].map((match) => {
      const line = markdown.slice(0, match.index).split("\n").length
      const name = path.join(root, path.dirname(page), `snippet-${line}.ts`)
      return {
        file: project.createSourceFile(name, match[2] ?? ""),
        place: { file: path.join(root, page), line }
      }
    })
    return [page, files] as const
  })
)

const known = new Map<string, ReadonlySet<string> | undefined>()
/** The exports of a module of Effect 4, by its declarations. */
const exportsOf = (module: string): ReadonlySet<string> | undefined => {
  if (!known.has(module)) known.set(module, readExports(module))
  return known.get(module)
}

const readExports = (module: string): ReadonlySet<string> | undefined => {
  const [scope, ...rest] = module.split("/")
  const [folder, inside] = module.startsWith("@")
    ? [`${scope}/${rest[0]}`, rest.slice(1).join("/")]
    : [scope ?? "", rest.join("/")]
  const file = path.join(output, "node_modules", folder, "dist", `${inside}.d.ts`)
  if (inside === "" || !fs.existsSync(file)) return undefined
  const text = fs.readFileSync(file, "utf8").replace(/\/\*.*?\*\//gs, "")
  const names = new Set<string>()
  for (const [, name] of text.matchAll(
    /^export (?:declare )?(?:abstract )?(?:const|let|function|class|interface|type|namespace) ([\w$]+)/gm
  )) {
    names.add(name ?? "")
  }
  for (const [, list] of text.matchAll(/^export \{([^}]*)\}/gms)) {
    for (const part of (list ?? "").split(",")) {
      const name = part
        .trim()
        .split(/\s+as\s+/)
        .at(-1)
        ?.replace(/^type /, "")
      if (name) names.add(name)
    }
  }
  return names
}

const problems: Array<Problem> = []
const written = new Set<string>()
let files = 0
let changed = 0

const write = (relative: string, text: string): void => {
  const file = path.join(output, relative)
  written.add(file)
  if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === text) return
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

/** Names that Effect 4 no longer has. */
const checkNames = (file: string, original: string, text: string): void => {
  for (const [, name, module] of text.matchAll(/^import (?:type )?\* as (\w+) from "(@?effect[^"]*)"/gm)) {
    if (name === undefined || module === undefined) continue
    const names = exportsOf(module)
    if (names === undefined) {
      problems.push({
        file,
        line: lineOf(original, module) ?? 1,
        message: `Effect 4 has no module ${module}`
      })
      continue
    }
    for (const [, member] of text.matchAll(new RegExp(`(?<![\\w.$"/])${name}\\s*\\.\\s*([\\w$]+)`, "g"))) {
      if (member === undefined || names.has(member)) continue
      const line = lineOf(original, `${name}.${member}`) ?? lineOf(original, `.${member}`) ?? 1
      problems.push({ file, line, message: `${module} of Effect 4 has no "${member}"` })
    }
  }
}

/** A file by all rules; what they cannot translate is among the problems. `line` is where it starts in its page. */
const translated = (file: SourceFile, page?: { readonly file: string; readonly line: number }): string => {
  const { problems: found, text } = translate(file)
  const before = problems.length
  problems.push(...found)
  checkNames(file.getFilePath(), file.getFullText(), text.replace(/\/\*\*.*?\*\/|^\s*\/\/.*?$/gms, ""))
  if (page !== undefined) {
    const own = problems.splice(before)
    problems.push(...own.map((each) => ({ ...each, file: page.file, line: each.line + page.line })))
  }
  return text
}

/** Everything of a package that is no source: recorded answers, its manifest, its page with translated snippets. */
const writePackage = (name: string): void => {
  const folder = `packages/${name}`
  for (const part of ["src", "test"]) copy(`${folder}/${part}`)
  for (const file of ["LICENSE", "CHANGELOG.md", "tsconfig.json", "providers.schema.json"]) {
    if (fs.existsSync(path.join(root, folder, file))) copyFile(`${folder}/${file}`)
  }
  const manifest = JSON.parse(fs.readFileSync(path.join(root, folder, "package.json"), "utf8")) as Manifest
  write(`${folder}/package.json`, json(manifestFor(manifest)))
  write(`${folder}/README.md`, pageOf(`${folder}/README.md`))
}

/** A page, its TypeScript in the words of Effect 4. */
const pageOf = (page: string): string => {
  const ofPage = snippets.get(page) ?? []
  let index = 0
  return fs.readFileSync(path.join(root, page), "utf8").replace(fence, (_, opening: string) => {
    const snippet = ofPage[index++]
    return snippet === undefined ? "" : `${opening}${translated(snippet.file, snippet.place)}\`\`\``
  })
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

const writeWorkspace = (): void => {
  for (const entry of fs.readdirSync(template))
    write(entry, fs.readFileSync(path.join(template, entry), "utf8"))
  write(
    "tsconfig.base.json",
    json({ compilerOptions: { ...(config as { compilerOptions: object }).compilerOptions, plugins: [] } })
  )
  for (const page of pages) write(page, pageOf(page))
  for (const name of all) {
    write(
      `tsconfig.${name}.json`,
      json({
        extends: "./tsconfig.json",
        include: [`packages/${name}/src`, `packages/${name}/test`],
        compilerOptions: { tsBuildInfoFile: `node_modules/.cache/${name}.tsbuildinfo` }
      })
    )
  }
}

/** What an earlier run wrote, and this one did not. */
const removeOld = (): void => {
  for (const name of packages) {
    for (const part of ["src", "test"]) {
      for (const file of filesIn(path.join(output, "packages", name, part))) {
        if (!written.has(file)) fs.rmSync(file)
      }
    }
  }
}

const filesIn = (folder: string): ReadonlyArray<string> =>
  fs.existsSync(folder)
    ? fs
        .readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
    : []

/** Copies what is no TypeScript. */
const copy = (folder: string): void => {
  for (const file of filesIn(path.join(root, folder))) {
    if (!file.endsWith(".ts")) copyFile(path.relative(root, file))
  }
}

const copyFile = (relative: string): void => {
  const to = path.join(output, relative)
  fs.mkdirSync(path.dirname(to), { recursive: true })
  fs.copyFileSync(path.join(root, relative), to)
  written.add(to)
}

const lineOf = (text: string, part: string): number | undefined => {
  const at = text.indexOf(part)
  return at < 0 ? undefined : text.slice(0, at).split("\n").length
}

const isSnippet = new Set([...snippets.values()].flat().map(({ file }) => file))
const sources = project.getSourceFiles().filter((file) => !isSnippet.has(file))
for (const name of packages) {
  for (const file of sources.filter((f) => f.getFilePath().startsWith(`${root}/packages/${name}/`))) {
    const relative = path.relative(root, file.getFilePath())
    files++
    const byHand = path.join(modules, path.relative("packages", relative))
    if (fs.existsSync(byHand)) {
      write(relative, fs.readFileSync(byHand, "utf8"))
      continue
    }
    const text = translated(file)
    if (text !== file.getFullText()) changed++
    write(relative, text)
  }
  writePackage(name)
}
writeWorkspace()
removeOld()

const unique = new Map(problems.map((p) => [`${path.relative(root, p.file)}:${p.line} ${p.message}`, p]))
for (const line of unique.keys()) console.error(line)
console.log(
  `${files} files, ${changed} changed, ${rules.length} rules, ${unique.size} problems, ${((Date.now() - began) / 1000).toFixed(1)} s`
)
if (unique.size > 0) process.exitCode = 1
