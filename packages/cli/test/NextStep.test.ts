/** The next step in the command's messages: with names, once, and in sentences. */
import { Credentials, Entry } from "@latchkey/core"
import { Effect, Exit, Scope } from "effect"
import { mkdir, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Desk from "./support/Desk.js"

let scope: Scope.CloseableScope
let desk: Desk.Desk

beforeEach(async () => {
  scope = Effect.runSync(Scope.make())
  desk = await Effect.runPromise(Scope.extend(Desk.make, scope))
  const server = { tokenEndpoint: "http://127.0.0.1:1/token" }
  await put(join(desk.config, "providers.json"), {
    providers: { acme: { server, client: { id: "acme" } }, other: { server, client: { id: "other" } } }
  })
})
afterEach(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const put = async (path: string, value: unknown): Promise<string> => {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(value), { mode: 0o600 })
  return path
}

/** What an account is, though it has no grant. */
const known = (provider: string, name: string) =>
  put(join(desk.data, "accounts", provider, `${name}.json`), {
    ...{ latchkey: 1, provider, name, grant: "refresh", settings: {} },
    home: { kind: "store", encryption: "none" }
  })

const granted = async (account: string, lifetime: number, refreshToken?: string) => {
  const now = Date.now()
  const credentials = Credentials.make({
    accessToken: "canary-access",
    ...(refreshToken !== undefined && { refreshToken }),
    obtainedAt: now - (lifetime < 0 ? 3_600_000 : 0),
    expiresAt: now + lifetime
  })
  const path = await put(join(desk.home, "grant.json"), Entry.toJson(Entry.first(credentials)))
  expect(await desk.run(`import acme ${path} --account ${account}`)).toMatchObject({ code: 0 })
}

const needGrants = ["token", "token --json", "refresh", "exec", "explain", "status", "logout", "export"]
const commandOf = (words: string, account: string): string => {
  const [command = "", ...options] = words.split(" ")
  return [command, account, ...options, ...(command === "exec" ? ["--", "true"] : [])].join(" ")
}

describe("an account that nobody has logged in to", () => {
  const cases = [
    ["github", "latchkey login github"],
    ["github/default", "latchkey login github"],
    ["github/work", "latchkey login github --account work"],
    ["acme", "latchkey login acme"],
    ["acme/me@example.com", "latchkey login acme --account me@example.com"]
  ] as const
  for (const others of [false, true]) {
    it.each(cases)(
      `%s: each command names its login${others ? ", among others" : ""}`,
      async (name, login) => {
        if (others) await known("other", "default")
        for (const words of needGrants) {
          const { code, stderr, stdout } = await desk.run(commandOf(words, name))
          expect([words, code]).toEqual([words, 2])
          expect(stdout).toBe("")
          if (words.includes("--json")) expect(JSON.parse(stderr)).toMatchObject({ error: { next: login } })
          else expect(stderr).toContain(`next: ${login}\n`)
          expect(stderr).not.toMatch(/again/i)
        }
      }
    )
  }

  it.each([
    ["nobody", "latchkey login nobody --issuer URL --client-id ID"],
    ["nobody/work", "latchkey login nobody --account work --issuer URL --client-id ID"]
  ])("%s names no provider that there is: its login names the server", async (name, login) => {
    const { code, stderr } = await desk.run(`token ${name}`)
    expect(code).toBe(2)
    expect(stderr).toContain(`next: ${login}\n`)
  })

  it.each(["GitHub", "github/a/b", "github/", "/", "github/-x"])(
    "%s cannot be an account: no login of that name is advised",
    async (name) => {
      const { code, stderr } = await desk.run(`token ${name}`)
      expect(code).toBe(2)
      expect(stderr).toContain("next: latchkey login PROVIDER\n")
    }
  )
})

describe("an account that is known and has no grant", () => {
  it.each(["token", "refresh", "exec"])(
    "%s says to log in, not again, and names the login",
    async (command) => {
      await known("acme", "work")
      const { stderr } = await desk.run(commandOf(command, "work"))
      expect(stderr).toBe(
        "latchkey: acme/work: There are no credentials yet.\n    next: latchkey login acme --account work\n"
      )
    }
  )

  it("explain and doctor say the same", async () => {
    await known("acme", "work")
    const { stderr, stdout } = await desk.run("explain work")
    expect(stdout).toMatch(/asked now +log in: there are no credentials yet\n/)
    expect(stderr).toBe("next: latchkey login acme --account work\n")
    expect((await desk.run("doctor")).stdout).toContain("fix: latchkey login acme --account work\n")
  })
})

it("an account whose grant has ended is to log in again, said once", async () => {
  await granted("work", -60_000)
  const { code, stderr } = await desk.run("token work")
  expect(code).toBe(3)
  expect(stderr.match(/log in/gi)).toHaveLength(1)
  expect(stderr).toContain("no refresh token. Log in again")
  expect(stderr).toContain("next: latchkey login acme --account work\n")
})

describe("explain says its warnings in sentences", () => {
  it("of a token that lives for less than the time at which it would be renewed", async () => {
    await granted("work", 60_000, "canary-refresh")
    const { stdout } = await desk.run("explain work")
    expect(stdout).toMatch(/^warning +the token's lifetime is shorter than/m)
    expect(stdout).not.toMatch(/GraceClamped|canary/)
    expect(JSON.parse((await desk.run("explain work --json")).stdout)).toMatchObject({
      warnings: ["GraceClamped"]
    })
  })
})

describe("whatever doctor finds wrong has a remedy beside it", () => {
  const mended = async (least: number) => {
    const { findings } = JSON.parse((await desk.run("doctor --json")).stdout) as {
      findings: ReadonlyArray<{ verdict: string; mend: string | null }>
    }
    const bad = findings.filter(({ verdict }) => verdict !== "well")
    expect(bad.length).toBeGreaterThanOrEqual(least)
    for (const finding of bad) expect(finding).toMatchObject({ mend: expect.stringMatching(/\S/) })
    const { stdout } = await desk.run("doctor")
    expect(stdout.trimEnd().split("\n").at(-1)).toMatch(/^(ok {3,}| +fix: )/)
  }

  it("in accounts, grants and providers", async () => {
    await granted("work", -60_000)
    await put(join(desk.data, "accounts", "acme", "later.json"), { latchkey: 2 })
    await mkdir(join(desk.data, "accounts", "acme", "folder.json"))
    await put(join(desk.config, "providers.json"), { providers: { acme: { server: 1 }, "": {} } })
    await mended(4)
  })

  it("where the accounts cannot be listed", async () => {
    await put(join(desk.data, "accounts"), "no folder")
    await mended(1)
  })

  it("where the settings of the providers are a folder", async () => {
    await mkdir(join(desk.home, "providers"))
    desk.set("LATCHKEY_PROVIDERS_FILE", join(desk.home, "providers"))
    await mended(1)
  })
})
