/** Generates the Effect 4 edition from the Effect 3 sources: `npm run edition`. */
import * as fs from "node:fs"
import * as path from "node:path"
import { Project, ts } from "ts-morph"
import { Edit, type Problem } from "./Edit.js"
import { rules } from "./rules/index.js"

const root = path.resolve(import.meta.dirname, "../..")
const output = path.join(root, ".edition")
const modules = path.join(import.meta.dirname, "modules")
const all = ["core", "oauth", "storage", "providers"]
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

const known = new Map<string, ReadonlySet<string> | undefined>()
/** What a module of Effect 4 exports, by its declarations. */
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

/** Names that Effect 4 has no longer. */
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

const lineOf = (text: string, part: string): number | undefined => {
  const at = text.indexOf(part)
  return at < 0 ? undefined : text.slice(0, at).split("\n").length
}

for (const name of packages) {
  for (const file of project
    .getSourceFiles()
    .filter((f) => f.getFilePath().startsWith(`${root}/packages/${name}/`))) {
    const relative = path.relative(root, file.getFilePath())
    files++
    const byHand = path.join(modules, path.relative("packages", relative))
    if (fs.existsSync(byHand)) {
      write(relative, fs.readFileSync(byHand, "utf8"))
      continue
    }
    const edit = new Edit(file)
    file.forEachDescendant((node) => {
      for (const rule of rules) rule.apply(node, edit)
    })
    const text = edit.text()
    problems.push(...edit.problems)
    checkNames(file.getFilePath(), file.getFullText(), text.replace(/\/\*\*.*?\*\/|^\s*\/\/.*?$/gms, ""))
    if (text !== file.getFullText()) changed++
    write(relative, text)
  }
}

/** Recorded answers and the like. */
const copy = (folder: string): void => {
  for (const entry of fs.readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name)
    if (!entry.isFile() || file.endsWith(".ts")) continue
    const to = path.join(output, path.relative(root, file))
    fs.mkdirSync(path.dirname(to), { recursive: true })
    fs.copyFileSync(file, to)
    written.add(to)
  }
}
for (const name of packages) for (const part of ["src", "test"]) copy(`packages/${name}/${part}`)

/** What tests of packages import from elsewhere. */
for (const file of [".ci/describeWith.ts", ".ci/programs.ts"]) {
  write(file, fs.readFileSync(path.join(root, file), "utf8"))
}

const unique = new Map(problems.map((p) => [`${path.relative(root, p.file)}:${p.line} ${p.message}`, p]))
for (const line of unique.keys()) console.error(line)
console.log(
  `${files} files, ${changed} changed, ${rules.length} rules, ${unique.size} problems, ${((Date.now() - began) / 1000).toFixed(1)} s`
)
if (unique.size > 0) process.exitCode = 1
