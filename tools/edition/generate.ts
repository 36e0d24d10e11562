/** Generates the Effect 4 edition from the Effect 3 sources: `npm run edition`. */
import * as fs from "node:fs"
import * as path from "node:path"
import { createWrappedNode, type SourceFile, ts } from "ts-morph"
import type { Problem } from "./Edit.js"
import { install } from "./install.js"
import { all, pages } from "./packages.js"
import { rules } from "./rules/index.js"
import { translate } from "./translate.js"
import { copyFile, output, root, settingsOfCompiler, write, written } from "./workspace.js"

const modules = path.join(import.meta.dirname, "modules")
const chosen = process.argv.slice(2)
const packages = chosen.length === 0 ? all : chosen

// The names of Effect 4 are read from its packages.
await install()
const began = Date.now()
const fence = /^(```ts\b(?! effect-4).*\n)([^]*?)^```$/gm
/** A snippet that a page shows for Effect 4 as well, after the one for Effect 3. */
const shown = /^```ts effect-4\n([^]*?)^```$/gm
/** The snippets of pages, as files beside them. */
const snippets = new Map(
  [...pages, ...packages.map((name) => `packages/${name}/README.md`)].map((page) => {
    const markdown = fs.readFileSync(path.join(root, page), "utf8")
    const files = [...markdown.matchAll(fence)].map((match) => {
      const line = markdown.slice(0, match.index).split("\n").length
      const name = path.join(root, path.dirname(page), `${path.basename(page, ".md")}-${line}.ts`)
      return { name, text: match[2] ?? "", place: { file: path.join(root, page), line } }
    })
    return [page, files] as const
  })
)
const textOfSnippet = new Map([...snippets.values()].flat().map(({ name, text }) => [name, text]))

/** Without what tests make beside themselves while they run. */
const filesIn = (folder: string): ReadonlyArray<string> =>
  fs.existsSync(folder)
    ? fs
        .readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
        .filter(
          (file) =>
            !path
              .relative(folder, file)
              .split(path.sep)
              .some((part) => part.startsWith("."))
        )
    : []

const sourcesIn = (folder: string): ReadonlyArray<string> =>
  filesIn(path.join(root, folder)).filter((file) => file.endsWith(".ts"))

const sources = new Map(
  packages.map((name) => [
    name,
    [...sourcesIn(`packages/${name}/src`), ...sourcesIn(`packages/${name}/test`)].sort()
  ])
)

/** One program for all files. Doc comments are not parsed: that takes as long as all the rest. */
const startProgram = (): ts.Program => {
  const { options } = ts.parseJsonConfigFileContent(settingsOfCompiler(), ts.sys, root)
  const compilerOptions = { ...options, composite: false, incremental: false, noEmit: true }
  const host = ts.createCompilerHost(compilerOptions, true)
  const { fileExists, readFile } = host
  host.jsDocParsingMode = ts.JSDocParsingMode.ParseNone
  host.getDefaultLibLocation = () => path.join(root, "node_modules/typescript/lib")
  host.fileExists = (file) => textOfSnippet.has(file) || fileExists(file)
  host.readFile = (file) => textOfSnippet.get(file) ?? readFile(file)
  const rootNames = [
    ...[...sources.values()].flat(),
    ...sourcesIn("tools/edition/programs"),
    ...textOfSnippet.keys()
  ]
  return ts.createProgram({ rootNames, options: compilerOptions, host })
}

const program = startProgram()
const typeChecker = program.getTypeChecker()

const sourceFile = (name: string): SourceFile => {
  const file = program.getSourceFile(name)
  if (file === undefined) throw new Error(`${name} is not in the program`)
  return createWrappedNode(file, { typeChecker })
}

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
let files = 0
let changed = 0

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

/** What of a package is no source: recorded answers, and its page with translated snippets. */
const writePackage = (name: string): void => {
  const folder = `packages/${name}`
  for (const part of ["src", "test"]) copy(`${folder}/${part}`)
  write(`${folder}/README.md`, pageOf(`${folder}/README.md`))
}

/** A page, its TypeScript in the words of Effect 4. */
const pageOf = (page: string): string => {
  const ofPage = snippets.get(page) ?? []
  const file = path.join(root, page)
  const markdown = fs.readFileSync(file, "utf8")
  const texts = ofPage.map((snippet) => ({
    ...snippet.place,
    text: translated(sourceFile(snippet.name), snippet.place)
  }))
  for (const { line, text } of texts) write(`snippets/${page.replaceAll("/", "-")}-${line}.ts`, text)
  for (const match of markdown.matchAll(shown)) {
    const line = markdown.slice(0, match.index).split("\n").length
    const before = texts.filter((each) => each.line < line).at(-1)
    if (before === undefined || !isSame(before.text, match[1] ?? "")) {
      problems.push({ file, line, message: "this differs from the translation of the snippet above" })
    }
  }
  let index = 0
  return markdown.replace(fence, (_, opening: string) => `${opening}${texts[index++]?.text ?? ""}\`\`\``)
}

/** Formatting aside. */
const isSame = (a: string, b: string): boolean => a.replace(/\s/g, "") === b.replace(/\s/g, "")

/** What an earlier run wrote, and this one did not. */
const removeOld = (): void => {
  const folders = packages.flatMap((name) => [`packages/${name}/src`, `packages/${name}/test`])
  for (const folder of [...folders, "snippets", "programs"]) {
    for (const file of filesIn(path.join(output, folder))) {
      if (!written.has(file)) fs.rmSync(file)
    }
  }
}

/** Copies what is no TypeScript. */
const copy = (folder: string): void => {
  for (const file of filesIn(path.join(root, folder))) {
    if (!file.endsWith(".ts")) copyFile(path.relative(root, file))
  }
}

const lineOf = (text: string, part: string): number | undefined => {
  const at = text.indexOf(part)
  return at < 0 ? undefined : text.slice(0, at).split("\n").length
}

for (const [name, all] of sources) {
  for (const source of all) {
    const relative = path.relative(root, source)
    files++
    const byHand = path.join(modules, path.relative("packages", relative))
    if (fs.existsSync(byHand)) {
      write(relative, fs.readFileSync(byHand, "utf8"))
      continue
    }
    const file = sourceFile(source)
    const text = translated(file)
    if (text !== file.getFullText()) changed++
    write(relative, text)
  }
  writePackage(name)
}
for (const source of sourcesIn("tools/edition/programs")) {
  write(`programs/${path.basename(source)}`, translated(sourceFile(source)))
}
for (const page of pages) write(page, pageOf(page))
removeOld()

/** What tests of packages import from elsewhere. */
for (const file of [".ci/bundleOnce.ts", ".ci/describeWith.ts", ".ci/programs.ts"]) {
  write(file, fs.readFileSync(path.join(root, file), "utf8"))
}

const unique = new Map(problems.map((p) => [`${path.relative(root, p.file)}:${p.line} ${p.message}`, p]))
for (const line of unique.keys()) console.error(line)
console.log(
  `${files} files, ${changed} changed, ${rules.length} rules, ${unique.size} problems, ${((Date.now() - began) / 1000).toFixed(1)} s`
)
if (unique.size > 0) process.exitCode = 1
