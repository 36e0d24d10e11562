/** Accounts whose settings name another server, client or account than their grant's. */
import { Credentials, Entry, GrantIdentity } from "@latchkey/core"
import { Effect, Exit, Option, Scope } from "effect"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { listen } from "../../oauth/test/Provider.js"
import * as Desk from "./support/Desk.js"

let scope: Scope.CloseableScope
let desk: Desk.Desk
let ours: Server
let theirs: Server

interface Server {
  readonly url: string
  /** What was asked of it: method, path and body. */
  readonly asked: Array<string>
  /** Whose token it gives next. */
  account: string
}

/** A token endpoint that names an account in its answer. */
const start = Effect.gen(function* () {
  const asked: Array<string> = []
  const state = { asked, account: "ada", url: "" }
  const { url } = yield* listen((request, response) => {
    let body = ""
    request.on("data", (chunk: Buffer) => (body += chunk.toString()))
    request.on("end", () => {
      asked.push(`${request.method} ${request.url} ${body}`)
      response.writeHead(200, { "content-type": "application/json" })
      response.end(
        JSON.stringify({
          access_token: `at-${state.account}-${asked.length}`,
          token_type: "Bearer",
          expires_in: 3600,
          account: state.account
        })
      )
    })
  })
  return Object.assign(state, { url })
})

beforeEach(async () => {
  scope = Effect.runSync(Scope.make())
  const made = await Effect.runPromise(
    Scope.extend(Effect.all({ desk: Desk.make, ours: start, theirs: start }), scope)
  )
  desk = made.desk
  ours = made.ours
  theirs = made.theirs
  await setTo(ours)
})
afterEach(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const put = async (path: string, value: unknown): Promise<string> => {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(value), { mode: 0o600 })
  return path
}

const endpointOf = (server: Server) => `${server.url}/token`

/** The provider acme from now on. */
const setTo = (server: Server, clientId = "app") =>
  put(join(desk.config, "providers.json"), {
    providers: {
      acme: {
        displayName: "Acme",
        server: { tokenEndpoint: endpointOf(server), revocationEndpoint: `${server.url}/revoke` },
        client: { id: clientId },
        account: { path: ["account"] },
        login: { ways: ["clientCredentials"] }
      }
    }
  })

/** A user's grant, imported: its token is valid for an hour, or expired an hour ago. */
const imported = async (expiresIn: number): Promise<void> => {
  const credentials = Credentials.make({
    accessToken: "at-imported",
    refreshToken: "rt-imported",
    obtainedAt: Date.now() + expiresIn - 7_200_000,
    expiresAt: Date.now() + expiresIn,
    accountId: "ada"
  })
  const path = await put(join(desk.home, "grant.json"), Entry.toJson(Entry.first(credentials)))
  expect(await desk.run(`import acme ${path}`)).toMatchObject({ code: 0 })
}

let exports = 0

/** What the store holds: in a new file each time, since one that is there counts its generations. */
const exported = async (): Promise<unknown> => {
  const path = join(desk.home, `out-${++exports}.json`)
  expect(await desk.run(`export acme ${path}`)).toMatchObject({ code: 0 })
  const { revision: _, ...record } = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>
  return record
}

const hour = 3_600_000

describe("an account whose provider is at another server now (F2)", () => {
  it.each([
    ["fresh", hour],
    ["expired", -hour]
  ])("%s: every command says so, names both, and sends nothing", async (_, expiresIn) => {
    await imported(expiresIn)
    const before = await exported()
    expect(before).toMatchObject({ identity: { tokenEndpoint: endpointOf(ours), clientId: "app" } })
    await setTo(theirs)
    for (const command of ["token acme", "token acme --json", "refresh acme", "logout acme"]) {
      const { code, stderr, stdout } = await desk.run(command)
      expect(code, command).toBe(6)
      expect(`${stdout}${stderr}`, command).toContain(endpointOf(ours))
      expect(`${stdout}${stderr}`, command).toContain(endpointOf(theirs))
      expect(stdout, command).not.toContain("at-imported")
    }
    const executed = await desk.run("exec acme -- node -e 0")
    expect(executed).toMatchObject({ code: 125, stderr: expect.stringContaining(endpointOf(theirs)) })
    const status = await desk.run("status acme --json")
    expect(status.code).toBe(6)
    expect(JSON.parse(status.stdout)).toMatchObject({
      accounts: [
        { id: "acme/default", state: "mismatch", problem: expect.stringContaining(endpointOf(ours)) }
      ]
    })
    const explained = await desk.run("explain acme --json")
    expect(JSON.parse(explained.stdout)).toMatchObject({ decision: "Refuse", state: "mismatch" })
    expect((await desk.run("explain acme")).stderr).toContain("--replace")
    expect([...theirs.asked, ...ours.asked]).toEqual([])
    const doctor = await desk.run("doctor")
    expect(doctor).toMatchObject({ code: 1, stdout: expect.stringContaining(endpointOf(theirs)) })
    expect(doctor.stdout).toContain("login acme --replace")
    // It asks the server for the time, and shows it nothing.
    expect(theirs.asked.filter((line) => line !== "HEAD / ")).toEqual([])
    await setTo(ours)
    expect(await exported()).toEqual(before)
  })

  it("another client of the same server: the same", async () => {
    await imported(hour)
    await setTo(ours, "other")
    expect(await desk.run("token acme")).toMatchObject({
      code: 6,
      stdout: "",
      stderr: expect.stringMatching(/the client app, not by other/)
    })
    expect(ours.asked).toEqual([])
  })

  it("is removed by logout --local alone, and its tokens are shown to no server", async () => {
    await imported(hour)
    await setTo(theirs)
    expect(await desk.run("logout acme")).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("--local")
    })
    expect(await desk.run("logout acme --local")).toMatchObject({ code: 0 })
    expect(theirs.asked).toEqual([])
  })

  it("a variable that names another server counts as a setting does", async () => {
    await imported(hour)
    desk.set("LATCHKEY_ACME_SERVER_TOKEN_ENDPOINT", endpointOf(theirs))
    expect(await desk.run("token acme")).toMatchObject({ code: 6, stdout: "" })
    expect(theirs.asked).toEqual([])
  })
})

const login = "login acme --client-credentials --client-id machine --client-secret-env SECRET"

describe("a login over another's grant", () => {
  beforeEach(() => desk.set("SECRET", "hush"))

  it("of a user, or at another server, is refused before anything is sent, unless --replace (F2)", async () => {
    await imported(hour)
    const before = await exported()
    expect(await desk.run(login)).toMatchObject({
      code: 6,
      stderr: expect.stringMatching(/a user's grant.*client_credentials[^]*--replace/)
    })
    await setTo(theirs)
    expect(await desk.run(login)).toMatchObject({
      code: 6,
      stderr: expect.stringContaining(endpointOf(ours))
    })
    expect([...ours.asked, ...theirs.asked]).toEqual([])
    await setTo(ours)
    expect(await exported()).toEqual(before)
    const replaced = await desk.run(`${login} --replace`)
    expect(replaced).toMatchObject({ code: 0, stderr: expect.stringContaining("not revoked") })
    expect(await desk.run("token acme")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^at-ada/) })
  })

  it("of another account is refused, and both are named, unless --replace (F3)", async () => {
    expect(await desk.run(login)).toMatchObject({ code: 0 })
    const token = await desk.run("token acme")
    const before = await exported()
    ours.account = "bob"
    const refused = await desk.run(login)
    expect(refused).toMatchObject({ code: 6, stdout: "" })
    expect(refused.stderr).toMatch(/belongs to ada, not to bob[^]*was not stored[^]*--replace/)
    expect(await exported()).toEqual(before)
    expect((await desk.run("token acme")).stdout).toBe(token.stdout)
    const replaced = await desk.run(`${login} --replace`)
    expect(replaced).toMatchObject({ code: 0, stderr: expect.stringMatching(/\(ada\)[^]*not revoked/) })
    expect(await exported()).toMatchObject({ accountId: "bob" })
    // Again as bob: no permission is needed, and nothing is reported.
    expect((await desk.run(login)).stderr).not.toContain("not revoked")
  })

  it("beside it, under another name, needs no leave", async () => {
    await imported(hour)
    ours.account = "bob"
    expect(await desk.run(`${login} --account bot`)).toMatchObject({ code: 0 })
    expect(await desk.run("token acme/default")).toMatchObject({ code: 0, stdout: "at-imported\n" })
  })
})

describe("an import", () => {
  const bound = (identity: Parameters<typeof GrantIdentity.make>[0]) =>
    put(
      join(desk.home, "bound.json"),
      Entry.toJson(
        Entry.bind(
          Entry.first(Credentials.make({ accessToken: "at-1", refreshToken: "rt-1" })),
          Option.some(GrantIdentity.make(identity))
        )
      )
    )

  it("of a grant that is from another server or client takes nothing over", async () => {
    for (const identity of [
      { tokenEndpoint: endpointOf(theirs), clientId: "app" },
      { tokenEndpoint: endpointOf(ours), clientId: "other" },
      { tokenEndpoint: endpointOf(ours), clientId: "app", grantType: "client_credentials" }
    ]) {
      const path = await bound(identity)
      expect(await desk.run(`import acme ${path}`)).toMatchObject({
        code: 6,
        stderr: expect.stringContaining("Nothing was imported")
      })
      expect(await desk.run("list")).toMatchObject({ code: 3, stdout: "" })
    }
    expect([...ours.asked, ...theirs.asked]).toEqual([])
  })

  it("of one that is from here keeps it so", async () => {
    const path = await bound({ tokenEndpoint: endpointOf(ours), clientId: "app" })
    expect(await desk.run(`import acme ${path}`)).toMatchObject({ code: 0 })
    expect(await exported()).toMatchObject({ identity: { tokenEndpoint: endpointOf(ours), clientId: "app" } })
  })
})
