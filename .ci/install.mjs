/*
 * Runs the install lines of the pages as they are printed, with npm and with pnpm, each in an empty folder.
 * There must be no warning about peers and one copy of effect, and every module of the named packages must
 * import. For pack.mjs.
 */
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { manifestOf, published } from "./registry.mjs"

const root = join(import.meta.dirname, "..")
const pnpm = "pnpm@10.34.9"
const guide = "packages/docs/guide"
/** Runs the snippets of the pages. See pages.mjs. */
const runner = "tsx@4"
const pages = [
  "README.md",
  ...published.map((name) => `packages/${name}/README.md`),
  ...readdirSync(join(root, guide))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${guide}/${name}`)
]

/**
 * Every line of a page's `sh` blocks that starts with one of the commands, with its comment and its place.
 */
const linesOf = (page, command) => {
  const blocks = readFileSync(join(root, page), "utf8").matchAll(/^```(?:sh|bash|console)\n([^]*?)^```$/gm)
  return [...blocks].flatMap(([, block]) =>
    block
      .replace(/\\\n\s*/g, " ")
      .split("\n")
      .map((line) => /^(.*?)\s*(?:#\s*(.*))?$/.exec(line))
      .filter(([, line]) => command.test(line))
      .map(([, line, comment]) => ({ page, line, comment: comment ?? "" }))
  )
}

/** The install lines of all pages, each text once. A bare `npm install` belongs to a checkout. */
export const installLines = () => {
  const all = pages.flatMap((page) => linesOf(page, /^(?:npm (?:install|i)|pnpm add) +[^&]/))
  return all.filter(({ line }, index) => all.findIndex((other) => other.line === line) === index)
}

/** The packages that the pages run with `npx`. */
export const runPackages = () =>
  [
    ...new Set(
      pages.flatMap((page) =>
        [
          ...readFileSync(join(root, page), "utf8").matchAll(/\b(?:npx|pnpm dlx)(?: -\S+)* +([^\s`)"]+)/g)
        ].map(([, name]) => name)
      )
    )
  ].filter((name) => name !== runner)

const run = (command, args, cwd, env) =>
  promisify(execFile)(command, args, { cwd, env: { ...process.env, ...env }, maxBuffer: 1 << 26 })

/** Splits a line like a shell, for lines without quotes or variables. */
const wordsOf = (line) => {
  if (/["'$`&|;<>]/.test(line)) throw new Error(`${line}: an install line is words and nothing else`)
  return line.trim().split(/\s+/)
}

/** The line as it is printed, and the same for the other program. */
const variants = (line) => {
  const [, , ...rest] = wordsOf(line)
  return [
    ["npm", "install", ...rest],
    ["pnpm", "add", ...rest]
  ]
}

/** The modules to import in a folder: each one whose optional peers are installed. */
const importing = `
import { readFileSync, readdirSync, existsSync } from "node:fs"
import { join } from "node:path"
const [names, needed] = JSON.parse(process.argv[2])
let count = 0
for (const name of names) {
  const folder = join("node_modules", name)
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  const optional = Object.keys(manifest.peerDependenciesMeta ?? {})
  const entries = Object.entries(manifest.exports).filter(([, target]) => target?.default !== undefined)
  const paths = entries.flatMap(([path, { default: target }]) =>
    path !== "./*"
      ? [path]
      : readdirSync(join(folder, "dist"))
          .filter((file) => file.endsWith(".js") && file !== "index.js" && file !== "bin.js")
          .map((file) => "./" + file.slice(0, -3))
          .filter((path) => manifest.exports[path] !== null)
  )
  for (const path of paths) {
    const module = name + path.slice(1)
    try {
      await import(module)
      count++
    } catch (error) {
      const missing = error.code === "ERR_MODULE_NOT_FOUND" && optional.some((peer) => error.message.includes("'" + peer))
      if (!missing || needed.includes(module)) throw error
    }
  }
}
console.log(count + " modules")
`

const complaint = /ERESOLVE|EOVERRIDE|unmet peer|missing peer|peer dependenc|conflicting peer/i

/** Every copy of effect that was installed. */
const copiesOfEffect = async (command, cwd) => {
  if (command === "pnpm") {
    return readdirSync(join(cwd, "node_modules/.pnpm")).filter((folder) => /^effect@/.test(folder))
  }
  const { stdout } = await run("npm", ["ls", "effect", "--all", "--parseable", "--long"], cwd)
  return [...new Set(stdout.split("\n"))].flatMap((line) => /:(effect@[^:]+)/.exec(line)?.[1] ?? [])
}

/** Runs a line in a folder after `before`. Returns the imported modules. */
const tryLine = async ({ before, comment, line }, index, { variables, scratch }) => {
  const cwd = mkdtempSync(join(scratch, "folder-"))
  const bin = join(scratch, "bin")
  // A global install goes here and not into this machine.
  const everywhere = join(cwd, "everywhere")
  mkdirSync(join(everywhere, "bin"), { recursive: true })
  const env = {
    ...variables,
    npm_config_prefer_offline: "true",
    npm_config_prefix: everywhere,
    PNPM_HOME: join(everywhere, "bin"),
    PATH: `${bin}:${join(everywhere, "bin")}:${process.env.PATH}`
  }
  const steps = [...before, line].map((step) => variants(step)[index])
  for (const [command, ...args] of steps) {
    const { stderr, stdout } = await run(command, args, cwd, env)
    if (complaint.test(stdout + stderr)) throw new Error(`${command} ${args.join(" ")}\n${stdout}${stderr}`)
  }
  const [command, ...words] = steps.at(-1)
  const names = words.filter((word) => word.startsWith("@latchkey/"))
  if (words.some((word) => word === "--global" || word === "-g")) {
    const { stdout } = await run("latchkey", ["--version"], cwd, env)
    return stdout.trim()
  }
  const effects = await copiesOfEffect(command, cwd)
  if (effects.length !== 1) throw new Error(`${line} installs ${effects.join(" and ") || "no effect"}`)
  const needed = [...comment.matchAll(/\b[A-Z]\w+/g)]
    .map(([word]) => word)
    .filter((word) => existsSync(join(root, "packages/storage/src", `${word}.ts`)))
    .map((word) => `@latchkey/storage/${word}`)
  const all = [...new Set([...names, ...(needed.length === 0 ? [] : ["@latchkey/storage"])])]
  writeFileSync(join(cwd, "importing.mjs"), importing)
  const { stdout } = await run(process.execPath, ["importing.mjs", JSON.stringify([all, needed])], cwd)
  return `${effects[0]}, ${stdout.trim()}`
}

/** The variables that direct npm to our packages, because a global install does not read a project's file. */
export const variablesFor = async ({ npmrc, scratch }) => {
  const settings = (await run("npm", ["config", "get", "userconfig"], scratch)).stdout.trim()
  const userconfig = join(scratch, "npmrc")
  const own = existsSync(settings) ? readFileSync(settings, "utf8") : ""
  writeFileSync(userconfig, `${own}\n${npmrc}`, { mode: 0o600 })
  return { npm_config_userconfig: userconfig }
}

/** Tries every line, each as a task for `attempt`. Returns the lines. */
export const installTasks = async ({ scratch, variables }) => {
  const bin = join(scratch, "bin")
  await run("npm", ["install", "--prefix", join(scratch, "pnpm"), "--no-audit", "--no-fund", pnpm], scratch)
  mkdirSync(bin, { recursive: true })
  writeFileSync(
    join(bin, "pnpm"),
    `#!/bin/sh\nexec "${join(scratch, "pnpm/node_modules/.bin/pnpm")}" "$@"\n`,
    { mode: 0o755 }
  )
  const lines = installLines()
  const base = lines.find(({ page }) => page === "README.md")
  if (base === undefined) throw new Error("README.md has no install line")
  const tasks = lines.flatMap(({ comment, line, page }) => {
    // A line without our packages adds to the packages that the page's reader has already installed.
    const before = /(^|\s)@latchkey\//.test(line) ? [] : [base.line]
    return variants(line).map(([command], index) => ({
      title: `${command}: ${page}: ${line.slice(0, 60)}${line.length > 60 ? "…" : ""}`,
      work: () => tryLine({ before, comment, line }, index, { variables, scratch })
    }))
  })
  const runs = runPackages().map((name) => ({
    title: `npx ${name}`,
    work: async () => {
      const ours = published.map((folder) => manifestOf(folder).name)
      if (!ours.includes(name)) throw new Error(`npx ${name} runs a package that is not ours`)
      const cwd = mkdtempSync(join(scratch, "folder-"))
      const env = { ...variables, npm_config_cache: join(scratch, "npx") }
      const { stdout } = await run("npx", ["--yes", name, "--version"], cwd, env)
      return stdout.trim()
    }
  }))
  return [...tasks, ...runs]
}
