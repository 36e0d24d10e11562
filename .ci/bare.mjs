/*
 * The first commands of a newcomer, from a fresh clone on a machine with only Node, npm and a shell: npm
 * install, npm test, npm start. Tests that cannot run there are skipped, with one line for each part.
 * `bare.mjs DIRECTORY` writes there what the tests reported, as bare.json, and the files in which some were
 * skipped, as skipped.txt.
 */
import { execFileSync, spawnSync } from "node:child_process"
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join, relative } from "node:path"

const root = join(import.meta.dirname, "..")
/** The programs in a slim image of Node. */
const programs = [
  ...[
    "sh",
    "cat",
    "chmod",
    "cp",
    "cut",
    "dirname",
    "env",
    "grep",
    "head",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mkfifo"
  ],
  ...[
    "mktemp",
    "mv",
    "rm",
    "rmdir",
    "sed",
    "sleep",
    "sort",
    "stat",
    "tail",
    "touch",
    "tr",
    "true",
    "uname",
    "wc"
  ]
]
/** One for each part that needs more. */
const expected = [
  /^skipped: logins in a real browser /m,
  /^skipped: Redis /m,
  /^skipped: PostgreSQL /m,
  /^skipped: the keychain /m,
  /^skipped: locks that Codex takes /m,
  /^skipped: git with the command as its helper /m,
  /^skipped: Docker with the command as its helper /m,
  /^skipped: kubectl with the command as its plugin /m,
  /^skipped: curl as a client of the agent /m,
  /^skipped: Python as a client of the agent /m,
  /^skipped: the agent with a socket from systemd /m,
  /^skipped: full, read-only and single mounted files /m
]

const find = (name) =>
  process.env.PATH.split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })

const machine = mkdtempSync(join(tmpdir(), "latchkey-bare-"))
process.on("exit", () => rmSync(machine, { recursive: true, force: true, maxRetries: 5 }))
const [bin, home, clone] = ["bin", "home", "clone"].map((name) => join(machine, name))
mkdirSync(bin)
mkdirSync(home)
for (const name of programs) {
  const path = find(name)
  if (path !== undefined) symlinkSync(path, join(bin, name))
}
symlinkSync(process.execPath, join(bin, "node"))
// As links to the targets of npm's own links, because npm finds its parts beside them.
for (const name of ["npm", "npx"]) symlinkSync(find(name), join(bin, name))

const npm = (name) =>
  execFileSync("npm", ["config", "get", name], { encoding: "utf8", cwd: dirname(root) }).trim()
const env = {
  PATH: bin,
  HOME: home,
  // This run does not test where the machine gets its packages from.
  npm_config_userconfig: npm("userconfig"),
  npm_config_cache: npm("cache"),
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) =>
      /^(npm_config_|https?_proxy|no_proxy|NODE_EXTRA_CA_CERTS)/i.test(name)
    )
  )
}

execFileSync("git", ["clone", "--quiet", "--no-hardlinks", root, clone], { stdio: "inherit" })

const run = (...args) => {
  console.log(`$ npm ${args.join(" ")}`)
  const { status, stdout, stderr } = spawnSync("npm", args, {
    cwd: clone,
    env,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"]
  })
  const output = stdout + stderr
  if (status !== 0) {
    console.log(output)
    console.log(`npm ${args.join(" ")} ended with ${status} on a machine that has Node and npm alone`)
    process.exit(1)
  }
  return output
}

const [, , reports] = process.argv
const reporters =
  reports === undefined
    ? []
    : ["--", "--reporter=default", "--reporter=json", `--outputFile.json=${join(reports, "bare.json")}`]

console.log(`Node ${process.version}`)
run("install")
const tested = run("test", ...reporters)
console.log(
  tested
    .split("\n")
    .filter((line) => /^(skipped: | +Test Files | +Tests )/.test(line))
    .join("\n")
)
for (const line of expected) {
  const found = tested.match(new RegExp(line.source, "gm"))?.length ?? 0
  if (found !== 1) {
    console.log(`${line} was printed ${found} times; each part that is skipped has one line`)
    process.exitCode = 1
  }
}
run("start")
if (reports !== undefined) {
  const { testResults } = JSON.parse(readFileSync(join(reports, "bare.json"), "utf8"))
  const files = testResults
    .filter(({ assertionResults }) => assertionResults.some(({ status }) => status !== "passed"))
    .map(({ name }) => relative(realpathSync(clone), name))
  writeFileSync(join(reports, "skipped.txt"), files.join("\n"))
}
