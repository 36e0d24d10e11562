/** The commands in one process, at a real authorization server. */
import { Credentials, Entry } from "@latchkey/core"
import { Effect, Exit, Redacted, Scope } from "effect"
import { existsSync } from "node:fs"
import { chmod, mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest"
import * as Provider from "../../oauth/test/Provider.js"
import * as Desk from "./support/Desk.js"

const machine = {
  client_id: "machine",
  client_secret: "canary-client-secret",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: []
}

let scope: Scope.CloseableScope
let server: Provider.Harness
let desk: Desk.Desk

beforeAll(async () => {
  vi.spyOn(console, "info").mockReturnValue(undefined)
  scope = Effect.runSync(Scope.make())
  server = await Effect.runPromise(
    Scope.extend(
      Provider.start({
        clients: [Provider.publicClient, machine],
        features: { clientCredentials: { enabled: true }, revocation: { enabled: true } }
      }),
      scope
    )
  )
}, 60_000)
afterAll(async () => {
  vi.restoreAllMocks()
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

beforeEach(async () => {
  desk = await Effect.runPromise(Scope.extend(Desk.make, scope))
  await put(join(desk.config, "providers.json"), {
    providers: {
      acme: { displayName: "Acme", server: { issuer: server.issuer }, client: { id: "public-client" } }
    }
  })
})

const put = async (path: string, value: unknown): Promise<string> => {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, typeof value === "string" ? value : JSON.stringify(value), { mode: 0o600 })
  return path
}

/** A grant as after a login, in a file to be imported; it has expired `ago` milliseconds since. */
const grantFile = async (
  ago = -3_600_000
): Promise<{ path: string; credentials: Credentials.Credentials }> => {
  const granted = await Effect.runPromise(server.grant())
  const expiresAt = Date.now() - ago
  const credentials = Credentials.make({
    accessToken: granted.accessToken,
    refreshToken: Effect.runSync(granted.refreshToken),
    obtainedAt: expiresAt - 3_600_000,
    expiresAt,
    accountId: "alice"
  })
  const path = await put(join(desk.home, "grant.json"), Entry.toJson(Entry.first(credentials)))
  return { path, credentials }
}

const loggedIn = async (ago?: number): Promise<Credentials.Credentials> => {
  const { path, credentials } = await grantFile(ago)
  expect(await desk.run(`import acme ${path}`)).toMatchObject({ code: 0 })
  return credentials
}

const secretsOf = (credentials: Credentials.Credentials): ReadonlyArray<string> => [
  Redacted.value(credentials.accessToken),
  Redacted.value(Effect.runSync(credentials.refreshToken))
]

it("a client logs in, asks for tokens, is shown, renewed and logged out, and its secret is seen nowhere", async () => {
  desk.set("ACME_SECRET", machine.client_secret)
  const login = await desk.run(
    "login acme --account bot --client-credentials --client-id machine --client-secret-env ACME_SECRET"
  )
  expect(login).toMatchObject({ code: 0, stdout: "" })
  expect(login.stderr).toMatch(/Logged in to Acme: acme\/bot; its token expires in \d+ s/)
  const token = await desk.run("token bot")
  expect(token).toMatchObject({ code: 0, stderr: "" })
  expect(token.stdout).toMatch(/^[\w-]{20,}\n$/)
  expect(await desk.run("token acme/bot --header")).toMatchObject({
    stdout: `Authorization: Bearer ${token.stdout}`
  })
  const described = JSON.parse((await desk.run("token acme --json")).stdout) as Record<string, unknown>
  expect(described).toMatchObject({ account: "acme/bot", token: token.stdout.trim(), tokenType: "Bearer" })
  expect(await desk.run("status bot")).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/valid +in \d+ s/)
  })
  expect(await desk.run("refresh bot")).toMatchObject({ code: 0 })
  const renewed = await desk.run("token bot")
  expect(renewed.stdout).not.toBe(token.stdout)
  expect(await desk.run("token bot --min-validity 1h")).toMatchObject({ code: 4 })
  const all = [login, await desk.run("list"), await desk.run("explain bot"), await desk.run("doctor")]
  expect(JSON.stringify(all)).not.toContain(machine.client_secret)
  expect(JSON.stringify(all)).not.toContain(renewed.stdout.trim())
  const before = server.requests.length
  expect(await desk.run("logout bot --json")).toMatchObject({
    code: 0,
    stdout: '{"account":"acme/bot","removed":true,"revoked":"revoked"}\n'
  })
  expect(server.requests.slice(before).map(({ line }) => line)).toContain("POST /token/revocation")
  expect(await desk.run("token bot")).toMatchObject({ code: 2 })
  expect(await desk.run("list")).toMatchObject({ code: 3, stdout: "" })
})

it("an expired token that can be renewed is well, and is renewed once when it is asked for", async () => {
  const credentials = await loggedIn(1000)
  const before = server.tokenRequests()
  expect(await desk.run("status")).toMatchObject({ code: 0, stdout: expect.stringContaining("refreshable") })
  expect(server.tokenRequests()).toBe(before)
  const first = await desk.run("token acme")
  expect(first).toMatchObject({ code: 0, stderr: "" })
  expect(secretsOf(credentials)).not.toContain(first.stdout.trim())
  expect((await desk.run("token acme")).stdout).toBe(first.stdout)
  expect(server.tokenRequests()).toBe(before + 1)
})

it("a refresh that fails says so and ends with an error, and the state of the account is told as it is", async () => {
  const { path, credentials } = await grantFile(1000)
  // Spent behind our back: the server ends the family at the next use.
  await desk.run(`import acme ${path} --account thief`)
  expect(await desk.run("token thief")).toMatchObject({ code: 0 })
  await desk.run(`import acme ${path}`)
  const refused = await desk.run("refresh acme/default")
  expect(refused).toMatchObject({ code: 3, stdout: "" })
  expect(refused.stderr).toContain("next: latchkey login acme")
  expect(await desk.run("status acme/default")).toMatchObject({
    code: 3,
    stdout: expect.stringMatching(
      /dead[^]*acme\/default: The server refused the refresh token: .* Log in again\./
    )
  })
  const described = await desk.run("status acme/default --json")
  expect(JSON.parse(described.stdout)).toMatchObject({
    accounts: [{ state: "dead", mustLogIn: true, nextRenewal: null, lastError: { reason: "GrantDead" } }]
  })
  const before = server.tokenRequests()
  expect(await desk.run("token acme/default")).toMatchObject({ code: 3, stdout: "" })
  expect(server.tokenRequests()).toBe(before)
  const explained = await desk.run("explain acme/default")
  expect(explained.stdout).toMatch(/ended +the server refused the refresh token/)
  for (const secret of secretsOf(credentials)) {
    expect(JSON.stringify([refused, described, explained])).not.toContain(secret)
  }
})

it("a wait that the server asks for is kept to by every command that follows", async () => {
  let asked = 0
  const busy = await Effect.runPromise(
    Scope.extend(
      Provider.listen((request, response) => {
        asked++
        request.resume()
        response.writeHead(429, { "retry-after": "120", "content-type": "application/json" })
        response.end(JSON.stringify({ error: "slow_down" }))
      }),
      scope
    )
  )
  const tokenEndpoint = `${busy.url}/token`
  await put(join(desk.config, "providers.json"), {
    providers: { acme: { displayName: "Acme", server: { tokenEndpoint }, client: { id: "public-client" } } }
  })
  await loggedIn(1000)
  expect(await desk.run("token acme")).toMatchObject({ code: 4, stdout: "" })
  expect(asked).toBe(1)
  for (const command of ["token acme", "refresh acme", "token acme"]) {
    const told = await desk.run(command)
    expect(told).toMatchObject({ code: 4, stdout: "" })
    expect(told.stderr).toContain("The server asked to wait")
  }
  expect((await desk.run("explain acme")).stdout).toContain("the server asked to wait")
  expect(asked).toBe(1)
})

it("errors as JSON, for scripts", async () => {
  const { code, stderr, stdout } = await desk.run("refresh nobody --json")
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
  expect(JSON.parse(stderr)).toMatchObject({
    error: { code: 2, reason: "Usage", message: expect.stringContaining('no account "nobody"') as unknown }
  })
})

it("names that are unknown or leave a doubt list what there is", async () => {
  const { path } = await grantFile()
  await desk.run(`import acme ${path} --account work`)
  await desk.run(`import github ${path} --account work`)
  expect((await desk.run("token nobody")).stderr).toContain("There are: acme/work, github/work.")
  const doubt = await desk.run("token work")
  expect(doubt).toMatchObject({ code: 2, stderr: expect.stringContaining("any of acme/work, github/work") })
  expect(await desk.run("token github")).toMatchObject({ code: 0 })
  expect(await desk.run(`import acme ${path} --account WORK`)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("differs only in upper and lower case")
  })
  expect(await desk.run(`import acme ${path} --account ../up`)).toMatchObject({ code: 2 })
})

const ofAnUnknownProvider = [
  "login acme2",
  "login acme2 --scope openid --scope offline_access --param prompt=consent",
  "login acme2 --client-id app",
  "login acme2 --device",
  "login acme2 --client-credentials",
  "login acme2 --issuer https://id.example.com",
  "token acme2",
  "token acme2/default",
  "status acme2",
  "refresh acme2",
  "explain acme2",
  "exec acme2 -- true",
  "logout acme2",
  "export acme2 grant.json",
  "import acme2 grant.json"
]

it.each(ofAnUnknownProvider)(
  "%s: a provider that is not known is named, with how to log in",
  async (line) => {
    const { code, stderr, stdout } = await desk.run(line)
    expect([2, 6]).toContain(code)
    expect(stdout).toBe("")
    if (!line.includes("--issuer"))
      expect(stderr).toMatch(/"acme2" is not a known provider: there are acme, claude, codex/)
    expect(stderr).toMatch(/\n {4}next: latchkey login acme2 --issuer URL --client-id ID\n/)
    expect(stderr).not.toMatch(/doctor|names neither/)
  }
)

it("an account that is not there leads to the login of its own name", async () => {
  expect((await desk.run("token acme/work")).stderr).toContain("next: latchkey login acme --account work\n")
  expect((await desk.run("token acme2/work")).stderr).toContain(
    "next: latchkey login acme2 --account work --issuer URL --client-id ID\n"
  )
  await loggedIn()
  const { stderr } = await desk.run("token acme2")
  expect(stderr).toMatch(/There are: acme\/default\. "acme2" is not a known provider/)
  expect(stderr).toContain("next: latchkey login acme2 --issuer URL --client-id ID; or latchkey list\n")
  for (const line of ["login Acme", "import ../up x.json", "login Acme --issuer https://id.example.com"])
    expect(await desk.run(line)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /cannot be the name of a provider.*\n {4}next: latchkey login NAME --issuer URL/
      )
    })
})

it("an account whose provider is gone from the file of providers leads to a login that names its server", async () => {
  await loggedIn(1000)
  await put(join(desk.config, "providers.json"), { providers: {} })
  for (const line of ["refresh acme", "token acme"])
    expect((await desk.run(line)).stderr).toMatch(
      /"acme" is not a known provider.*\n {4}next: latchkey login acme --issuer URL --client-id ID\n/
    )
})

it("arguments that cannot be understood are named, with the help to read", async () => {
  expect(await desk.run("token acme --jsn")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(
      'There is no option "--jsn". Did you mean --json?\n    next: latchkey token --help'
    )
  })
  expect(await desk.run("token acme --min-validity soon")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("write 90, 500ms, 30s, 5m, 2h or 1d")
  })
  expect(await desk.run("tokn")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(
      'There is no command "tokn". Did you mean token?\n    next: latchkey --help'
    )
  })
  for (const [line, words] of [
    ["lsit", 'There is no command "lsit". Did you mean list?'],
    ["expl acme", 'There is no command "expl". Did you mean explain?'],
    ["whoami", 'There is no command "whoami". There are login, token, exec, '],
    ["login acme --cleint-id x", 'There is no option "--cleint-id". Did you mean --client-id?'],
    ["login acme --manul", 'There is no option "--manul". Did you mean --manual?'],
    ["list --wtach", 'There is no option "--wtach". Did you mean --watch?'],
    ["--verson", 'There is no option "--verson". Did you mean --version?'],
    ["list --zzz=1", 'There is no option "--zzz".\n']
  ] as const) {
    expect(await desk.run(line)).toMatchObject({ code: 2, stderr: expect.stringContaining(words) })
  }
  expect(await desk.run("login acme --device --manual")).toMatchObject({ code: 2 })
  expect(await desk.run("list -- x")).toMatchObject({ code: 2 })
  expect(await desk.run("token --jsn")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no option "--jsn"')
  })
  expect(await desk.run("login -x")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no option "-x"')
  })
  expect(await desk.run("--completions bsh")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("bash, fish, sh and zsh")
  })
  for (const issuer of ["nowhere", "http://id.example.com"]) {
    expect(await desk.run(`login new --issuer ${issuer} --client-id x`)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--issuer must be .*\n {4}next: latchkey login --help/)
    })
  }
  expect((await desk.run("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  const help = await desk.run("--help")
  expect(help).toMatchObject({ code: 0, stderr: "" })
  expect(help.stdout).not.toMatch(/\p{Cc}\[/u)
  expect(help.stdout).toMatch(/\n {2}export +Write the grant/)
  expect(help.stdout).toMatch(/\n\nEXAMPLES\n\n\$ latchkey login github --client-id MY-APP\n/)
  expect(Math.max(...help.stdout.split("\n").map((line) => line.length))).toBeLessThan(110)
  const { stdout } = await desk.run("token --help")
  expect(stdout).toContain("$ latchkey token [--min-validity SPAN]")
  expect(stdout).toMatch(/\n\n--json\n {2}Print JSON.\n\nEXAMPLES\n\n(?:\$ .+\n)+$/)
  for (const command of /^COMMANDS\n([^]*?)\n\n/m.exec(help.stdout)![1]!.matchAll(/^ {2}(\w+)/gm)) {
    const shown = (await desk.run(`${command[1]!} --help`)).stdout
    expect(shown).toMatch(new RegExp(`\\n\\nEXAMPLES\\n\\n[^]*\\blatchkey ${command[1]!}\\b`))
  }
  for (const shell of ["bash", "fish", "zsh"]) {
    expect((await desk.run(`--completions ${shell}`)).stdout).toContain("min-validity")
  }
})

it("a store that is damaged, of another key, open to others or no file is told with what to do", async () => {
  await loggedIn()
  const store = join(desk.data, "credentials.db")
  await chmod(store, 0o644)
  expect(await desk.run("token acme")).toMatchObject({
    code: 5,
    stderr: expect.stringContaining("chmod 600")
  })
  expect(await desk.run("doctor")).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("fix: chmod 600")
  })
  await writeFile(store, "this is no database, whatever it may be called\n".repeat(50))
  await chmod(store, 0o600)
  expect(await desk.run("token acme")).toMatchObject({ code: 5, stdout: "" })
  expect(await desk.run("list")).toMatchObject({ code: 5, stdout: expect.stringContaining("unreadable") })
  desk.set("XDG_DATA_HOME", join(desk.home, "other"))
  await mkdir(join(desk.home, "other", "latchkey", "credentials.db"), { recursive: true })
  const { path } = await grantFile()
  expect(await desk.run(`import acme ${path}`)).toMatchObject({ code: 5 })
})

it("a grant is encrypted with a key of the environment, and without that key it is not read, nor lost", async () => {
  desk.set("LATCHKEY_ENCRYPTION", undefined)
  const key = Buffer.alloc(32, 7).toString("base64")
  desk.set("AUTH__ENCRYPTION_KEYS", key)
  const credentials = await loggedIn()
  expect(await desk.run("list")).toMatchObject({ code: 0, stdout: expect.stringContaining(", encrypted") })
  for (const file of await readdir(desk.data)) {
    if (!file.startsWith("credentials.db")) continue
    const bytes = await readFile(join(desk.data, file), "latin1")
    for (const secret of secretsOf(credentials)) expect(bytes).not.toContain(secret)
  }
  desk.set("AUTH__ENCRYPTION_KEYS", Buffer.alloc(32, 8).toString("base64"))
  const refused = await desk.run("token acme")
  expect(refused).toMatchObject({ code: 5, stdout: "" })
  expect(refused.stderr).not.toContain(Buffer.alloc(32, 8).toString("base64"))
  desk.set("AUTH__ENCRYPTION_KEYS", "short")
  expect(await desk.run("token acme")).toMatchObject({
    code: 6,
    stderr: expect.stringContaining("not base64")
  })
  desk.set("AUTH__ENCRYPTION_KEYS", undefined)
  expect(await desk.run("token acme")).toMatchObject({ code: 6 })
  desk.set("AUTH__ENCRYPTION_KEYS", key)
  expect((await desk.run("token acme")).stdout.trim()).toBe(secretsOf(credentials)[0])
  desk.set("AUTH__ENCRYPTION_KEYS", undefined)
  expect(await desk.run("logout acme --local")).toMatchObject({ code: 0 })
})

it("a file of providers that is broken is told, and stands in the way of nothing that does not need it", async () => {
  const credentials = await loggedIn()
  await put(join(desk.config, "providers.json"), '{"providers": {"acme": {"sever": {}}}}')
  expect((await desk.run("token acme")).stdout.trim()).toBe(secretsOf(credentials)[0])
  expect(await desk.run("refresh acme")).toMatchObject({ code: 6, stderr: expect.stringContaining("sever") })
  expect(await desk.run("doctor")).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("providers.json")
  })
  await put(join(desk.config, "providers.json"), "{")
  expect(await desk.run("login acme")).toMatchObject({
    code: 6,
    stderr: expect.stringContaining("is not JSON")
  })
  desk.set("AUTH__REFRESH_GRACE_SECONDS", "soon")
  expect(await desk.run("token acme")).toMatchObject({
    code: 6,
    stderr: expect.stringContaining("AUTH__REFRESH_GRACE_SECONDS")
  })
})

it("the file of an account that is damaged, or was copied, is named", async () => {
  await loggedIn()
  const file = join(desk.data, "accounts", "acme", "default.json")
  await put(join(dirname(file), "copy.json"), await readFile(file, "utf8"))
  expect(await desk.run("token copy")).toMatchObject({
    code: 5,
    stderr: expect.stringContaining("copy.json")
  })
  expect(await desk.run("token acme/default")).toMatchObject({ code: 0 })
  await writeFile(file, "{")
  expect(await desk.run("list")).toMatchObject({ code: 5, stdout: expect.stringContaining("default.json") })
  expect(await desk.run("doctor --json")).toMatchObject({ code: 1 })
})

const claudeFile = (expiresAt: number) => ({
  mcpOAuth: { other: { accessToken: "not-ours" } },
  claudeAiOauth: {
    accessToken: "claude-access-token-canary",
    refreshToken: "claude-refresh-token-canary",
    expiresAt,
    scopes: ["user:inference"],
    subscriptionType: "max"
  }
})

it("a provider's own file is found and used where it is, and can be copied out and in without a loss", async () => {
  const own = await put(join(desk.home, "claude", ".credentials.json"), claudeFile(Date.now() + 3_600_000))
  const list = await desk.run("list")
  expect(list).toMatchObject({ code: 0, stdout: expect.stringMatching(/claude +default +valid +in 59 min/) })
  expect(list.stdout).toContain("~/claude/.credentials.json")
  expect(await desk.run("token claude")).toMatchObject({ code: 0, stdout: "claude-access-token-canary\n" })
  expect(await desk.run("import claude")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("nothing to import")
  })
  expect(await desk.run("import claude --account spare")).toMatchObject({ code: 0 })
  const copy = await put(join(desk.home, "copy.json"), { mcpOAuth: { other: 1 } })
  expect(await desk.run(`export spare ${copy}`)).toMatchObject({ code: 0, stdout: "" })
  expect(JSON.parse(await readFile(copy, "utf8"))).toMatchObject({
    mcpOAuth: { other: 1 },
    claudeAiOauth: { ...claudeFile(0).claudeAiOauth, expiresAt: expect.any(Number) as number }
  })
  expect((await stat(copy)).mode & 0o777).toBe(0o600)
  await put(copy, { claudeAiOauth: { ...claudeFile(9e12).claudeAiOauth, refreshToken: "of-another-login" } })
  expect(await desk.run(`export spare ${copy}`)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--force")
  })
  expect(await readFile(copy, "utf8")).toContain("of-another-login")
  expect(await desk.run(`export spare ${copy} --force`)).toMatchObject({ code: 0 })
  const out = await desk.run("logout claude")
  expect(out).toMatchObject({
    code: 0,
    stderr: expect.stringContaining("no way to revoke a grant")
  })
  expect(JSON.parse(await readFile(own, "utf8"))).toEqual({ mcpOAuth: claudeFile(0).mcpOAuth })
})

it("a program that is logged out is no damage: each command says to log in (F11)", async () => {
  const blank = { accessToken: "", refreshToken: "", expiresAt: 0 }
  const file = { mcpOAuth: { other: 1 }, claudeAiOauth: blank }
  const own = await put(join(desk.home, "claude", ".credentials.json"), file)
  for (const command of ["token claude", "refresh claude", "status claude", "export claude out.json"]) {
    expect(await desk.run(command)).toMatchObject({ code: 3 })
  }
  expect((await desk.run("token claude")).stderr).toContain("latchkey login claude")
  expect(JSON.parse(await readFile(own, "utf8"))).toEqual(file)
  expect(await desk.run("logout claude")).toMatchObject({ code: 0 })
})

it("a grant that its program could not use is not exported, and what is missing is named (F14)", async () => {
  const jwt = ["{}", JSON.stringify({ exp: 4e9 }), "s"].map((part) => Buffer.from(part).toString("base64url"))
  const tokens = { access_token: jwt.join("."), refresh_token: "codex-refresh-token-canary" }
  await put(join(desk.home, "half.json"), { tokens })
  expect(await desk.run(`import codex ${join(desk.home, "half.json")} --account half`)).toMatchObject({
    code: 0
  })
  const target = join(desk.home, "auth.json")
  const out = await desk.run(`export half ${target}`)
  expect(out).toMatchObject({ code: 5, stderr: expect.stringContaining("tokens.id_token is missing") })
  expect(existsSync(target)).toBe(false)
})

it("a grant of Copilot's editors is imported from where they keep it (F20)", async () => {
  const editors = join(desk.home, "config", "github-copilot")
  const ada = { user: "ada", oauth_token: "gho-token-canary" }
  const none = await desk.run("import copilot --account editor")
  expect(none.code).not.toBe(0)
  await put(join(editors, "hosts.json"), { "octo.ghe.com": ada })
  expect((await desk.run("import copilot --account editor")).stderr).toContain("octo.ghe.com")
  const apps = await put(join(editors, "apps.json"), { "github.com:Iv1.b507a08c87ecfe98": ada })
  expect(await desk.run("import copilot --account editor")).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(apps)
  })
  expect(await desk.run("import copilot --account editor")).toMatchObject({ code: 2 })
})

it("an account whose program uses the memory of its process is not listed, and that is told (F15)", async () => {
  await put(join(desk.home, "codex", "auth.json"), {})
  const config = join(desk.home, "codex", "config.toml")
  await writeFile(config, 'cli_auth_credentials_store = "ephemeral"\n')
  expect((await desk.run("list")).stdout).not.toContain("codex")
  expect((await desk.run("login codex --manual")).stderr).toContain(config)
})

it("doctor sends nobody to the doctor, and has no sound grant removed for its file's mode", async () => {
  await put(join(desk.home, "claude", ".credentials.json"), claudeFile(Date.now() + 3_600_000))
  await loggedIn()
  await chmod(join(desk.home, "claude", ".credentials.json"), 0o644)
  await put(join(desk.config, "providers.json"), '{"providers": {"acme": {"sever": {}}}}')
  const { code, stdout } = await desk.run("doctor")
  expect(code).toBe(1)
  expect(stdout).toMatch(/WRONG acme\/default: .*sever is not a setting/)
  expect(stdout).toMatch(/WRONG claude\/default: .*chmod 600/)
  expect(stdout).not.toMatch(/fix: .*(latchkey doctor|logout)/)
  await put(join(desk.home, "claude", ".credentials.json"), "{")
  await chmod(join(desk.home, "claude", ".credentials.json"), 0o600)
  expect((await desk.run("doctor")).stdout).toContain("or latchkey logout claude/default --local")
})

it("an expired token without a refresh token is not called valid", async () => {
  const { refreshToken: _, ...rest } = claudeFile(Date.now() - 1000).claudeAiOauth
  await put(join(desk.home, "claude", ".credentials.json"), { claudeAiOauth: rest })
  expect(await desk.run("status claude")).toMatchObject({
    code: 3,
    stdout: expect.stringContaining("expired")
  })
  const refused = await desk.run("refresh claude")
  expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining("next: latchkey login claude") })
})

it("a file that holds an API key alone is told as such", async () => {
  await put(join(desk.home, "codex", "auth.json"), { OPENAI_API_KEY: "sk-canary" })
  const status = await desk.run("status codex")
  expect(status.code).not.toBe(0)
  expect(status.stdout).toMatch(/API key/i)
  expect(JSON.stringify(status)).not.toContain("sk-canary")
})

it("a login whose server cannot be reached keeps nothing", async () => {
  expect(
    await desk.run("login lost --issuer http://127.0.0.1:1 --client-id x --device --json")
  ).toMatchObject({ code: 4, stdout: "", stderr: expect.stringContaining("Unreachable") })
  expect(existsSync(join(desk.data, "accounts", "lost"))).toBe(false)
  for (const command of ["login nowhere", "import nowhere"]) {
    expect(await desk.run(command)).toMatchObject({
      code: 6,
      stderr: expect.stringMatching(/"nowhere" is not a known provider[^]*--issuer URL/)
    })
  }
  expect(await desk.run("login google")).toMatchObject({
    code: 6,
    stderr: expect.stringContaining("--client-id ID")
  })
  expect(await desk.run("login acme --client-credentials")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--client-secret-env NAME")
  })
})

it("doctor compares the clock with that of the server, which sees no secret (F10)", async () => {
  let off = 0
  const seen: Array<string> = []
  const { url: origin } = await Effect.runPromise(
    Scope.extend(
      Provider.listen((request, response) => {
        seen.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`)
        response.setHeader("date", new Date(Date.now() + off).toUTCString())
        response.writeHead(405).end()
      }),
      scope
    )
  )
  await put(join(desk.config, "providers.json"), {
    providers: {
      acme: { server: { tokenEndpoint: `${origin}/token` }, client: { id: "public-client" } }
    }
  })
  const credentials = await loggedIn()
  expect(await desk.run("doctor")).toMatchObject({
    stdout: expect.stringContaining(`it agrees with that of ${origin}.`)
  })
  off = -7_200_000
  expect(await desk.run("doctor")).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/it is (2 h|1 h 59 min).* ahead of that of http/)
  })
  off = 86_400_000
  expect(await desk.run("doctor")).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/ behind that of http/)
  })
  expect(seen.every((request) => request.startsWith("HEAD / "))).toBe(true)
  for (const secret of secretsOf(credentials)) expect(seen.join()).not.toContain(secret)
})

it("doctor reports that the clock was wrong when a token was obtained, by the server's own time (F10)", async () => {
  const serverTime = Date.now()
  const obtainedAt = serverTime + 7_200_000
  const credentials = Credentials.make({
    ...{ accessToken: "at-1", refreshToken: "rt-1", serverTime, obtainedAt },
    expiresAt: obtainedAt + 3_600_000
  })
  await put(join(desk.home, "grant.json"), Entry.toJson(Entry.first(credentials)))
  await desk.run(`import acme ${join(desk.home, "grant.json")}`)
  expect((await desk.run("doctor")).stdout).toContain("the clock was 2 h ahead of the server's")
})
