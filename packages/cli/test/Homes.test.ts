/**
 * Home directories in which nothing can be created, or for which a shell uses another one: the behaviour and
 * the output of the command.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import * as Terminal from "./support/Terminal.js"

/** The home that the user database has. */
const registered = (home: string) => `
import os from "node:os"
import { syncBuiltinESMExports } from "node:module"
const { homedir, userInfo } = os
os.homedir = () => (process.env.HOME === undefined ? ${JSON.stringify(home)} : homedir())
os.userInfo = (options) => ({ ...userInfo(options), homedir: ${JSON.stringify(home)} })
syncBuiltinESMExports()
`

const acme = (path: string) => ({
  server: {
    authorizationEndpoint: "http://127.0.0.1:1/authorize",
    tokenEndpoint: `http://127.0.0.1:1/${path}`
  },
  client: { id: "acme" },
  login: { ways: ["manual"], manualRedirectUri: "https://example.com/callback" }
})

let program: string
let room: Terminal.Room

beforeAll(async () => {
  program = await Terminal.bundle()
}, 60_000)
beforeEach(() => {
  room = Terminal.room()
  delete room.environment["LATCHKEY_ENCRYPTION"]
  room.environment["LATCHKEY_PROVIDERS_FILE"] = join(room.folder, "providers.json")
  provide("token")
  writeFileSync(join(room.folder, "file"), "")
  Terminal.writeGrant(room)
})
afterEach(() => room.remove())

const provide = (path: string) =>
  writeFileSync(join(room.folder, "providers.json"), JSON.stringify({ providers: { acme: acme(path) } }))

const register = (home: string) => Terminal.preload(room, registered(home))

const run = (words: string) => Terminal.run(program, room, words.split(" "))
const runEach = (commands: ReadonlyArray<string>) => Terminal.runEach(room, commands)

/** In which no user can make anything: below a file, and where the system lets nothing be made. */
const unusable = ["file", ...(existsSync("/proc/self") ? ["/proc"] : [])]
const homeOf = (name: string) => (name === "file" ? join(room.folder, "file", "home") : name)

describe.each(unusable)("with %s for a home", (name) => {
  it("of the user database alone, and no keychain: the command goes on without one", async () => {
    register(homeOf(name))
    const login = await run("login acme")
    expect(login.stderr).toContain("because there is no keychain here")
    expect(login.stderr).toContain("Open this in any browser")
    const [doctor, imported] = await runEach(["doctor", "import acme grant.json"])
    expect(doctor!.stdout).toMatch(/note +encryption: new grants are stored without encryption/)
    expect(imported).toMatchObject({ code: 0 })
    expect(await run("token acme")).toMatchObject({ code: 0, stdout: "canary-access\n", stderr: "" })
  })

  it("every command ends soon, and one that must write says where it cannot", async () => {
    register(homeOf(name))
    room.environment["HOME"] = homeOf(name)
    delete room.environment["XDG_DATA_HOME"]
    delete room.environment["XDG_CONFIG_HOME"]
    room.environment["LATCHKEY_ENCRYPTION"] = "none"
    for (const command of ["import acme grant.json", "login acme", "token acme", "doctor"]) {
      const { code, signal, stderr, stdout } = await run(command)
      expect([command, signal]).toEqual([command, null])
      expect([command, code]).not.toEqual([command, 0])
      expect(`${stdout}${stderr}`).not.toMatch(/unexpected|canary/)
      if (/import|login/.test(command)) expect(stderr).toContain(homeOf(name))
    }
  })
})

describe("a path is shown with ~ where a shell takes that for the home", () => {
  it.each([
    ["", false],
    ["relative", false],
    [undefined, true]
  ])("HOME=%s, as the user database has it: %s", async (home, tilde) => {
    const own = join(room.folder, "own")
    mkdirSync(own)
    register(own)
    if (home === undefined) delete room.environment["HOME"]
    else room.environment["HOME"] = home
    delete room.environment["XDG_DATA_HOME"]
    room.environment["LATCHKEY_ENCRYPTION"] = "none"
    const [imported, list] = await runEach(["import acme grant.json", "list"])
    expect(imported).toMatchObject({ code: 0 })
    expect(list!.stdout).toContain(join(tilde ? " ~" : own, ".local", "share", "latchkey"))
    expect(existsSync(join(own, ".local", "share", "latchkey", "credentials.db"))).toBe(true)
  })
})

it("a grant of another server is an error that is printed once, and nothing is logged beside it", async () => {
  room.environment["LATCHKEY_ENCRYPTION"] = "none"
  expect(await run("import acme grant.json")).toMatchObject({ code: 0 })
  provide("other")
  const commands = ["refresh acme", "exec acme -- true", "logout acme", "login acme"]
  const all = [await run("token acme"), ...(await runEach(commands))]
  for (const [at, command] of ["token acme", ...commands].entries()) {
    const { stderr } = all[at]!
    expect([command, stderr.trimEnd().split("\n")]).toEqual([
      command,
      [expect.stringMatching(/^latchkey: acme\/default/), expect.stringMatching(/^ {4}next: /)]
    ])
  }
})
