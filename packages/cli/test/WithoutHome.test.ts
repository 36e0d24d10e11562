/** A user without a home directory, as in a container: no HOME, and no entry in the user database. */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest"
import * as Terminal from "./support/Terminal.js"

/** What Node does there: both throw. A process of such a user takes root to start, and files that it may read. */
const nobody = `
import os from "node:os"
import { syncBuiltinESMExports } from "node:module"
const unknown = (call) => () => {
  throw Object.assign(new Error("A system error occurred: " + call + " returned ENOENT"), { code: "ERR_SYSTEM_ERROR" })
}
const { homedir } = os
os.homedir = () => (process.env.HOME === undefined ? unknown("uv_os_homedir")() : homedir())
os.userInfo = unknown("uv_os_get_passwd")
syncBuiltinESMExports()
`

let program: string
let room: Terminal.Room

beforeAll(async () => {
  program = await Terminal.bundle()
}, 60_000)
beforeEach(() => {
  room = Terminal.room()
  delete room.environment["HOME"]
  // With none of a session's either.
  delete room.environment["LATCHKEY_ENCRYPTION"]
  Terminal.preload(room, nobody)
  mkdirSync(join(room.folder, "config", "latchkey"), { recursive: true })
  const acme = { server: { tokenEndpoint: "http://127.0.0.1:1/token" }, client: { id: "acme" } }
  writeFileSync(
    join(room.folder, "config", "latchkey", "providers.json"),
    JSON.stringify({ providers: { acme } })
  )
  Terminal.writeGrant(room)
})
afterEach(() => room.remove())

const run = (words: string) => Terminal.run(program, room, words.split(" "))
const runEach = (commands: ReadonlyArray<string>) => Terminal.runEach(room, commands)

it("the stand-in does what a user without an entry meets", () => {
  const script = "try { require('os').homedir() } catch (error) { console.log(error.code) }"
  const said = execFileSync(process.execPath, ["-e", script], { env: room.environment, encoding: "utf8" })
  expect(said).toBe("ERR_SYSTEM_ERROR\n")
})

it("every command works with the XDG variables alone (F18)", async () => {
  expect(await run("import acme grant.json --account work")).toMatchObject({ code: 0 })
  expect(await run("token work")).toMatchObject({ code: 0, stdout: "canary-access\n", stderr: "" })
  const commands = ["token acme --json", "list", "status work", "explain work", "list --json", "doctor"]
  for (const [at, ended] of (await runEach(commands)).entries())
    expect(ended, commands[at]).toMatchObject({ code: 0 })
  expect(await run("exec work -- sh -c true")).toMatchObject({ code: 0 })
  expect(await run("logout work --local")).toMatchObject({ code: 0 })
})

it("a provider whose own file would be in the home says which variable to set", async () => {
  const commands = ["token claude", "import codex", "login claude --manual"]
  const all = await runEach(commands)
  for (const [at, { code, stderr }] of all.entries()) {
    expect(code, commands[at]).not.toBe(1)
    expect(stderr, commands[at]).toMatch(/latchkey: \S/)
    expect(stderr, commands[at]).not.toContain("unexpected")
  }
  expect(all[1]!.stderr).toMatch(/codex.*set HOME/)
  room.environment["CODEX_HOME"] = join(room.folder, "codex")
  expect(await run("import codex")).not.toMatchObject({ stderr: expect.stringContaining("HOME") })
})

/** Takes variables of the base directories away. */
const unset = (...names: ReadonlyArray<string>) => {
  for (const name of names) delete room.environment[name]
}
const saysWhatToSet = {
  code: 6,
  stdout: "",
  stderr: expect.stringMatching(/no home directory[^]*Set HOME, or XDG_DATA_HOME and XDG_CONFIG_HOME/)
}

it("help and versions need no home, and every other command says what to set", async () => {
  unset("XDG_DATA_HOME", "XDG_CONFIG_HOME")
  expect(await run("--help")).toMatchObject({ code: 0, stdout: expect.stringMatching(/\S/) })
  const helpful = ["--version", "login --help", "--completions bash"]
  const needy = ["list", "doctor", "login acme"]
  const all = await runEach([...helpful, ...needy, "no-such-command"])
  for (const [at, command] of helpful.entries())
    expect(all[at], command).toMatchObject({ code: 0, stdout: expect.stringMatching(/\S/) })
  for (const [at, command] of needy.entries())
    expect(all[helpful.length + at], command).toMatchObject(saysWhatToSet)
  expect(all.at(-1)).toMatchObject({ code: 2 })
  expect(await run("token acme")).toMatchObject(saysWhatToSet)
  expect(await run("exec acme -- true")).toMatchObject({ code: 125 })
  const json = await run("token acme --json")
  expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 6, reason: "Configuration" } })
})

it.each(["XDG_DATA_HOME", "XDG_CONFIG_HOME"])("says so as well where only %s is missing", async (name) => {
  unset(name)
  expect(await run("list")).toMatchObject(saysWhatToSet)
})

it("a home that is no absolute path is none, and one that is serves", async () => {
  unset("XDG_DATA_HOME", "XDG_CONFIG_HOME")
  for (const home of ["", "relative/home"]) {
    room.environment["HOME"] = home
    expect(await run("list"), `HOME=${home}`).toMatchObject(saysWhatToSet)
  }
  room.environment["HOME"] = room.folder
  expect(await run("list")).toMatchObject({ code: 3 })
})
