/** The command as a person uses it: in a terminal, with keys typed, a browser, and a real server. */
import { Credentials, Entry } from "@latchkey/core"
import { Effect, Exit, Scope } from "effect"
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { get } from "node:http"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest"
import { describeWith } from "../../../.ci/describeWith.js"
import { chromium, keychain } from "../../../.ci/programs.js"
import * as Provider from "../../oauth/test/Provider.js"
import * as Chromium from "../../oauth/test/support/Chromium.js"
import { consent } from "../../oauth/test/support/interaction.js"
import * as Terminal from "./support/Terminal.js"

const machine = {
  client_id: "machine",
  client_secret: "canary-typed-secret",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: []
}

let scope: Scope.CloseableScope
let server: Provider.Harness
let device: { readonly url: string; readonly polls: () => number }
let program: string
let room: Terminal.Room

const within = <A>(effect: Effect.Effect<A, never, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Scope.extend(effect, scope))

/** A server for logins by code: the user is done at the second poll. */
const deviceServer = Effect.gen(function* () {
  let polls = 0
  const { url } = yield* Provider.listen((request, response) => {
    request.resume()
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
    if (request.url === "/device") {
      answer(200, {
        device_code: "canary-device-code",
        user_code: "WDJB-MJHT",
        verification_uri: "http://127.0.0.1/activate",
        expires_in: 600,
        interval: 1
      })
    } else if (++polls % 2 === 1) answer(400, { error: "authorization_pending" })
    else {
      answer(200, {
        access_token: "canary-device-token",
        token_type: "Bearer",
        expires_in: 3600,
        refresh_token: "r"
      })
    }
  })
  return { url, polls: () => polls }
})

beforeAll(async () => {
  vi.spyOn(console, "info").mockReturnValue(undefined)
  scope = Effect.runSync(Scope.make())
  program = await Terminal.bundle()
  server = await within(
    Provider.start({
      clients: [Provider.publicClient, machine],
      features: { devInteractions: { enabled: true }, clientCredentials: { enabled: true } }
    })
  )
  device = await within(deviceServer)
}, 60_000)
afterAll(async () => {
  vi.restoreAllMocks()
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

beforeEach(() => {
  room = Terminal.room()
  mkdirSync(join(room.folder, "config", "latchkey"), { recursive: true })
  const acme = {
    displayName: "Acme",
    server: { issuer: server.issuer },
    client: { id: "public-client" },
    scopes: ["openid", "offline_access"],
    login: { authorizationParameters: { prompt: "consent" } }
  }
  const tv = {
    server: { tokenEndpoint: `${device.url}/token`, deviceAuthorizationEndpoint: `${device.url}/device` },
    client: { id: "tv" },
    login: { ways: ["device"] }
  }
  writeFileSync(
    join(room.folder, "config", "latchkey", "providers.json"),
    JSON.stringify({ providers: { acme, tv } })
  )
})
afterEach(() => room.remove())

const open = (...args: ReadonlyArray<string>) => Terminal.open(program, room, args)
const run = (...args: ReadonlyArray<string>) => Terminal.run(program, room, args)

const shown = /https?:\/\/127\.0\.0\.1:\d+\/auth\?\S+/

it("a login that brings no refresh token says so, with the command that brings one (F37)", async () => {
  const login = open("login", "acme", "--manual", "--scope", "openid", "--account", "short")
  const [url] = await login.until(shown)
  login.type(`${(await Effect.runPromise(consent(new URL(url)))).href}\r`)
  await login.until(/no refresh token:\s+this login ends/)
  await login.until(
    /latchkey\s+login\s+acme\s+--account\s+short\s+--scope\s+openid\s+--scope\s+offline_access\s/
  )
  expect(await login.ended).toBe(0)

  const again = open(
    ...["login", "acme", "--manual", "--account", "short", "--scope", "openid", "--scope", "offline_access"],
    ...["--param", "prompt=consent", "--param", "ui_locales=de en"]
  )
  const [other] = await again.until(shown)
  expect(new URL(other).searchParams.get("ui_locales")).toBe("de en")
  again.type(`${(await Effect.runPromise(consent(new URL(other)))).href}\r`)
  await again.until(/Logged in to Acme/)
  expect(await again.ended).toBe(0)
  expect(again.screen()).not.toContain("no refresh token")
  expect(await run("refresh", "short")).toMatchObject({ code: 0 })
  expect(await run("login", "acme", "--param", "prompt")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("NAME=VALUE") as unknown
  })
})

it("a login by code: what to do is shown, then the account; the table has colours unless NO_COLOR", async () => {
  const login = open("login", "tv")
  await login.until(/enter the code\s+WDJB-MJHT/)
  await login.until(/The code is valid for 9 min/)
  await login.until(/Logged in to tv: tv\/default; its token expires in 5\d min/)
  expect(await login.ended).toBe(0)
  expect(login.screen()).not.toContain("canary-device")
  expect(await run("token", "tv")).toMatchObject({ code: 0, stdout: "canary-device-token\n", stderr: "" })

  const coloured = open("list")
  expect(await coloured.ended).toBe(0)
  expect(coloured.screen()).toMatch(/\p{Cc}\[32mvalid\p{Cc}\[39m/u)
  room.environment["NO_COLOR"] = "1"
  const plain = open("list")
  expect(await plain.ended).toBe(0)
  expect(plain.screen()).toContain("valid")
  expect(plain.screen()).not.toMatch(/\p{Cc}\[3/u)
  expect((await run("list")).stdout).not.toMatch(/\p{Cc}\[/u)
})

it("the table is kept up to date, until Ctrl-C", async () => {
  expect(await open("login", "tv").ended).toBe(0)
  const watch = open("status", "--watch")
  await watch.until(/valid.*in 5\d min \d+ s/)
  const [, left] = await watch.until(/in (5\d min \d+ s)/)
  await watch.until(new RegExp(`valid.*in (?!${left})5\\d min`))
  expect(await run("logout", "tv", "--local")).toMatchObject({ code: 0 })
  await watch.until(/There are no accounts yet/)
  watch.type(Terminal.ctrlC)
  expect(await watch.ended).toBe(130)
  expect(watch.screen().endsWith("\u001b[?25h")).toBe(true)
})

it("Ctrl-C gives a login up, and nothing is kept", async () => {
  const login = open("login", "acme", "--browser")
  await login.until(/Waiting for the browser/)
  login.type(Terminal.ctrlC)
  expect(await login.ended).toBe(130)
  const byHand = open("login", "acme", "--manual")
  await byHand.until(/Paste it here/)
  byHand.type(Terminal.ctrlC)
  expect(await byHand.ended).toBe(130)
  expect(existsSync(join(room.folder, "data", "latchkey", "accounts"))).toBe(false)
})

it("by hand, an answer of another login is refused", async () => {
  const login = open("login", "acme", "--manual")
  await login.until(/Paste it here/)
  login.type(`some-code#of-another-state${Terminal.enter}`)
  await login.until(/latchkey:/)
  expect(await login.ended).toBe(7)
  expect(login.screen()).toMatch(/The login to Acme failed: [^]*(state|another login)/i)
})

it("a port that is taken, or no browser, leads on by hand, with a word", async () => {
  const taken = await within(Provider.listen(() => undefined))
  room.environment["LATCHKEY_ACME_LOGIN_REDIRECT_URI"] = `${taken.url}/callback`
  const busy = open("login", "acme")
  await busy.until(/continue by pasting the code[^]*Paste it here/)
  busy.type(Terminal.ctrlC)
  expect(await busy.ended).toBe(130)
  delete room.environment["LATCHKEY_ACME_LOGIN_REDIRECT_URI"]
  writeFileSync(join(room.folder, "bin", "xdg-open"), "#!/bin/sh\nexit 3\n")
  const blind = open("login", "acme")
  await blind.until(/could not be opened: continue by pasting the code[^]*Paste it here/)
  blind.type(Terminal.enter)
  expect(await blind.ended).toBe(7)
})

it("a login that is denied ends, and one whose browser does not come back goes on by hand", async () => {
  const login = open("login", "acme")
  await login.until(/Waiting for the browser/)
  const url = new URL(readFileSync(join(room.folder, "opened"), "utf8"))
  const back = new URL(url.searchParams.get("redirect_uri")!)
  const state = url.searchParams.get("state")!
  back.search = `${new URLSearchParams({ state, iss: server.issuer, error: "access_denied" })}`
  get(back).on("response", (response) => response.resume())
  await login.until(/The login to Acme failed: The login was denied/)
  expect(await login.ended).toBe(7)
  const slow = open("login", "acme", "--timeout", "100ms")
  await slow.until(/was not finished within 100ms: continue by pasting the code[^]*Paste it here/)
  slow.type(Terminal.ctrlC)
  expect(await slow.ended).toBe(130)
})

it("a client's secret is asked for, not shown, and kept for when the token is renewed", async () => {
  const login = open("login", "acme", "--client-credentials", "--client-id", "machine")
  await login.until(/not shown\): /)
  login.type(`${machine.client_secret}${Terminal.enter}`)
  await login.until(/Logged in to Acme/)
  expect(await login.ended).toBe(0)
  expect(login.screen()).not.toContain(machine.client_secret)
  expect(await run("refresh", "acme")).toMatchObject({ code: 0 })
})

it("a command gets the token in its environment, signals are passed on, and its end is ours", async () => {
  expect(await open("login", "tv").ended).toBe(0)
  room.environment["WANTED"] = "canary-device-token"
  const script =
    'test "$MINE" = "$WANTED" && ! { ps -o args= -p $PPID || cat /proc/$PPID/cmdline; } | grep -q "$MINE" && exit 42'
  expect(await run("exec", "tv", "--env", "MINE", "--", "sh", "-c", script)).toMatchObject({ code: 42 })
  const stopped = await Terminal.run(
    program,
    room,
    ["exec", "tv", "--", "sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"],
    (child) => child.stdout?.once("data", () => child.kill("SIGTERM"))
  )
  expect(stopped).toMatchObject({ code: 7, stdout: "ready\n" })
  expect(await run("exec", "tv", "--", "sh", "-c", "kill -KILL $$")).toMatchObject({ code: 137 })
  expect(await run("exec", "tv", "--", "no-such-command")).toMatchObject({ code: 127 })
  expect(await run("exec", "tv", "--", room.folder)).toMatchObject({ code: 126 })
  expect(await run("exec", "tv")).toMatchObject({ code: 2 })
  writeFileSync(join(room.folder, "data", "latchkey", "accounts", "tv", "default.json"), "{")
  expect(await run("exec", "tv", "--", "true")).toMatchObject({ code: 125 })
})

describeWith(keychain, "a keychain", () => {
  it("a grant is encrypted with a key in the keychain; one that is locked is told, not gone around", async () => {
    delete room.environment["LATCHKEY_ENCRYPTION"]
    const entry = Entry.toJson(
      Entry.first(Credentials.make({ accessToken: "canary-kept-token", refreshToken: "r" }))
    )
    writeFileSync(join(room.folder, "grant.json"), JSON.stringify(entry), { mode: 0o600 })
    const lock = `dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \\
    org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login`
    // By its connection: a question to a name without an owner has the bus start a daemon that is locked.
    const script = `owner() { dbus-send --session --print-reply --dest=org.freedesktop.DBus / \\
      org.freedesktop.DBus.GetNameOwner string:org.freedesktop.secrets | sed -n 's/.*"\\(:.*\\)"/\\1/p'; }
    isOpen() { dbus-send --session --print-reply --dest="$1" \\
      /org/freedesktop/secrets/collection/login org.freedesktop.DBus.Properties.Get \\
      string:org.freedesktop.Secret.Collection string:Locked | grep -q 'boolean false'; }
    printf password | gnome-keyring-daemon --unlock --replace --components=secrets
    until daemon=$(owner); [ -n "$daemon" ] && isOpen "$daemon" && [ "$daemon" = "$(owner)" ]; do
      sleep 0.05
    done
    latchkey() { "${process.execPath}" "${program}" "$@"; echo "code $?"; }
    latchkey import acme grant.json
    latchkey token acme
    grep -c canary-kept-token data/latchkey/credentials.db*
    ${lock}
    latchkey token acme
    latchkey import acme grant.json --account other`
    const said = await new Promise<string>((resolve) =>
      execFile(
        keychain.path ?? "",
        ["--", "sh", "-c", script],
        { cwd: room.folder, env: room.environment },
        (_, stdout, stderr) => resolve(stdout + stderr)
      )
    )
    expect(said).toMatch(/code 0\ncanary-kept-token\ncode 0\n/)
    expect(said).not.toMatch(/credentials\.db\S*:[1-9]/)
    expect(said.match(/code 5/g)).toHaveLength(2)
    expect(said).toContain("The keychain is locked")
  })
})

describeWith(chromium, "logins in a real browser", () => {
  let browser: Effect.Effect.Success<typeof Chromium.launch>
  beforeAll(async () => {
    browser = await within(Chromium.launch)
  }, 60_000)

  it(
    "a login in the browser, and one by hand with what the browser ends at",
    { timeout: 120_000 },
    async () => {
      const login = open("login", "acme")
      await login.until(/Waiting for the browser/)
      const page = await within(Chromium.newPage(browser))
      await page.goto(readFileSync(join(room.folder, "opened"), "utf8"))
      await Chromium.consent(page, "alice")
      await login.until(/Logged in to Acme: acme\/default is alice/)
      expect(await login.ended).toBe(0)
      const token = await run("token", "acme")
      expect(token).toMatchObject({ code: 0, stderr: "" })
      expect(login.screen()).not.toContain(token.stdout.trim())

      const { port } = await Effect.runPromise(Effect.scoped(Provider.listen(() => undefined)))
      room.environment["LATCHKEY_ACME_LOGIN_MANUAL_REDIRECT_URI"] = `http://127.0.0.1:${port}/callback`
      const byHand = open("login", "acme", "--manual", "--account", "second")
      const [url] = await byHand.until(shown)
      const other = await within(Chromium.newPage(browser))
      const answered = other.waitForRequest((request) => request.url().includes("/callback?"))
      await other.goto(url)
      await Chromium.consent(other, "bob").catch(() => undefined)
      await byHand.until(/Paste it here/)
      byHand.type(`${(await answered).url()}${Terminal.enter}`)
      await byHand.until(/Logged in to Acme: acme\/second is bob/)
      expect(await byHand.ended).toBe(0)
      expect(await run("status")).toMatchObject({ code: 0, stdout: expect.stringMatching(/alice[^]*bob/) })
    }
  )
})
