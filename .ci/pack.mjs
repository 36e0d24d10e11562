/*
 * npm run try:packed: packs every package as it would be published, follows the first pages and runs the
 * install lines of all of them, installs the tarballs in an empty project, checks and runs the first snippet
 * of each README there, counts the files that a small program loads, and uses the command. It uses dist, as
 * a user would: build first.
 */
import { build } from "esbuild"
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { useCommand } from "./command.mjs"
import { installTasks, variablesFor } from "./install.mjs"
import * as Pages from "./pages.mjs"
import * as Registry from "./registry.mjs"

const root = join(import.meta.dirname, "..")
const testedBy = (place) =>
  JSON.parse(readFileSync(join(root, place, "package.json"), "utf8")).devDependencies
const tested = { ...testedBy("packages/mcp"), ...testedBy("") }
const names = Registry.published
const project = mkdtempSync(join(tmpdir(), "latchkey-packed-"))
const bin = (name) => join(root, "node_modules/.bin", name)
const run = (command, args, { cwd = project, env = process.env } = {}) =>
  execFileSync(command, args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

/** No snippet may use the grants of the person who runs this. */
const nobody = { ...process.env, HOME: project, LATCHKEY_CLAUDE_CREDENTIALS_KEYCHAIN: "false" }
delete nobody.CLAUDE_CONFIG_DIR

const problems = []
const attempt = async (what, work) => {
  const started = performance.now()
  try {
    const said = await work()
    console.log(
      `ok   ${what.padEnd(44)} ${((performance.now() - started) / 1000).toFixed(1)} s  ${said ?? ""}`
    )
    return true
  } catch (error) {
    problems.push(what)
    console.log(`FAIL ${what}\n${error.message}\n${error.stdout ?? ""}${error.stderr ?? ""}`)
    return false
  }
}

/** The first snippet of a package's README. The command's README has none. */
const snippetOf = (name) => {
  const page = join(root, "packages", name, "README.md")
  return existsSync(page) ? /^```ts\n([^]*?)^```$/m.exec(readFileSync(page, "utf8")) : null
}

/** A small program starts slower with each of our files that it loads: at most so many. See bundle.mjs. */
const fewFiles = 20
const small = ["@latchkey/core/TokenManager", "@latchkey/oauth/RefreshToken", "@latchkey/storage/File"]

const loadLittle = async () => {
  const program = join(project, "small.mjs")
  const imports = small.map((module) => `import "${module}"\n`).join("")
  writeFileSync(program, `${imports}console.log(process.moduleLoadList.join())\n`)
  if (run(process.execPath, [program]).includes("undici"))
    throw new Error(
      "Node's HTTP client is loaded before there is a request: a module makes a Response as it loads"
    )
  const { metafile } = await build({
    entryPoints: [program],
    bundle: true,
    write: false,
    outdir: "nowhere",
    metafile: true,
    platform: "node",
    format: "esm",
    external: ["effect", "@effect/*", "fs-native-extensions"],
    ignoreAnnotations: true
  })
  const count = Object.keys(metafile.inputs).filter((file) => file.includes("/@latchkey/")).length
  if (count < small.length || count > fewFiles) throw new Error(`${count} files, at most ${fewFiles} are due`)
  return `${count} files`
}

/** The other packages that the user installs, in the tested versions. */
const beside = ["effect", "@effect/platform", "@modelcontextprotocol/client", "@types/node"].map(
  (name) => `${name}@${tested[name]}`
)

writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }))
writeFileSync(
  join(project, "tsconfig.json"),
  JSON.stringify({
    compilerOptions: {
      ...{ target: "ES2022", module: "NodeNext", moduleResolution: "NodeNext", types: ["node"] },
      ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: true, noEmit: true }
    },
    include: ["*.ts"]
  })
)
let tarballs = []
const packed = await attempt(`pack ${names.join(", ")}`, () => {
  tarballs = Registry.pack(join(project, "tarballs"))
})
const installed =
  packed &&
  (await attempt("install them in an empty project", () => {
    run("npm", ["install", "--no-audit", "--no-fund", ...beside, ...tarballs])
  }))
if (installed) {
  for (const name of names) {
    const snippet = snippetOf(name)
    if (snippet !== null) writeFileSync(join(project, `${name}.ts`), snippet[1])
  }
  await attempt("type-check the snippets", () => void run(bin("tsc"), ["-p", "."]))
  for (const name of names) {
    if (snippetOf(name) === null) continue
    await attempt(`run the snippet of @latchkey/${name}`, () =>
      run(bin("tsx"), [`${name}.ts`], { env: nobody }).trim()
    )
  }
  await attempt("load little in a small program", loadLittle)
  await attempt("use the command", () => useCommand(project))
}
if (packed) {
  const scratch = mkdtempSync(join(tmpdir(), "latchkey-lines-"))
  const registry = await Registry.serve(tarballs)
  const variables = await variablesFor({ npmrc: registry.npmrc, scratch })
  const servers = await Pages.startServers()
  const tasks = [
    ...Pages.pages.map((page) => ({
      title: `follow ${page}`,
      work: () => Pages.follow(page, { scratch, servers, variables })
    })),
    ...(await installTasks({ scratch, variables }))
  ]
  const next = async () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift())
      await attempt(task.title, task.work)
  }
  await Promise.all([next(), next()])
  servers.stop()
  registry.stop()
  rmSync(scratch, { recursive: true, force: true })
}
rmSync(project, { recursive: true, force: true })
console.log(
  problems.length === 0 ? "The packages work as they would be published" : `${problems.length} failed`
)
process.exitCode = problems.length === 0 ? 0 : 1
