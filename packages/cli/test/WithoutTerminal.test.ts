/**
 * Questions without a terminal: the answer comes from the standard input, or the command fails with a message
 * that says how to give one.
 */
import { Effect, Exit, Scope } from "effect"
import { spawn } from "node:child_process"
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest"
import * as Provider from "../../oauth/test/Provider.js"
import * as Terminal from "./support/Terminal.js"

let scope: Scope.CloseableScope
let program: string
let room: Terminal.Room
let url: string
let codes: Array<string | null>

beforeAll(async () => {
  scope = Effect.runSync(Scope.make())
  program = await Terminal.bundle()
  const server = Provider.listen((request, response) => {
    let body = ""
    request.on("data", (chunk) => (body += chunk))
    request.on("end", () => {
      codes.push(new URLSearchParams(body).get("code"))
      response
        .writeHead(200, { "content-type": "application/json" })
        .end(JSON.stringify({ access_token: "canary-access", token_type: "Bearer", expires_in: 3600 }))
    })
  })
  ;({ url } = await Effect.runPromise(Scope.extend(server, scope)))
}, 60_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

beforeEach(() => {
  codes = []
  room = Terminal.room()
  mkdirSync(join(room.folder, "config", "latchkey"), { recursive: true })
  const acme = {
    displayName: "Acme",
    server: { authorizationEndpoint: `${url}/auth`, tokenEndpoint: `${url}/token` },
    client: { id: "acme" },
    login: { ways: ["browser", "manual", "clientCredentials"], manualRedirectUri: `${url}/shown` }
  }
  writeFileSync(
    join(room.folder, "config", "latchkey", "providers.json"),
    JSON.stringify({ providers: { acme } })
  )
  // No browser either.
  writeFileSync(join(room.folder, "bin", "xdg-open"), "#!/bin/sh\nexit 3\n")
})
afterEach(() => room.remove())

type Input =
  { readonly text: string } | { readonly file: string; readonly mode?: string } | { readonly shell: string }

const run = (args: string, input: Input): Promise<{ code: number | null; stdout: string; stderr: string }> =>
  new Promise((resolve, reject) => {
    const descriptor = "file" in input ? openSync(input.file, input.mode ?? "r") : undefined
    const words = args.split(" ")
    const [command, ...rest] =
      "shell" in input
        ? ["sh", "-c", `"$0" "$@" ${input.shell}`, process.execPath, program, ...words]
        : [process.execPath, program, ...words]
    const child = spawn(command!, rest, {
      cwd: room.folder,
      env: room.environment,
      stdio: [descriptor ?? "pipe", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout!.on("data", (chunk) => (stdout += chunk))
    child.stderr!.on("data", (chunk) => (stderr += chunk))
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, stdout, stderr }))
    if ("text" in input) child.stdin!.on("error", () => undefined).end(input.text)
    if (descriptor !== undefined) closeSync(descriptor)
  })

const written = (text: string): Input => {
  const file = join(room.folder, "code.txt")
  writeFileSync(file, text)
  return { file }
}

it.each<[what: string, input: () => Input]>([
  ["a pipe", () => ({ text: "some-code\n" })],
  ["a pipe whose line has no end", () => ({ text: "some-code" })],
  ["a pipe with blank lines and returns", () => ({ text: "\r\n  \r\n some-code \r\nmore\r\n" })],
  ["a file", () => written("some-code\n")]
])("a code that comes through %s is taken (F43)", async (_, input) => {
  expect(await run("login acme --manual", input())).toMatchObject({
    code: 0,
    stdout: "",
    stderr: expect.stringContaining("Logged in to Acme")
  })
  expect(codes).toEqual(["some-code"])
})

it.each<[what: string, input: () => Input, says: RegExp]>([
  ["/dev/null", () => ({ file: "/dev/null" }), /no terminal/],
  ["closed", () => ({ shell: "<&-" }), /no terminal/],
  ["an empty file", () => written(""), /no terminal/],
  ["blank lines", () => ({ text: "\n \r\n\t\n" }), /no terminal/],
  ["a pipe that ends at once", () => ({ text: "" }), /no terminal/],
  ["a directory", () => ({ file: room.folder }), /no terminal/],
  ["open for writing only", () => ({ file: join(room.folder, "out"), mode: "w" }), /cannot be read/],
  ["without an end", () => ({ file: "/dev/zero" }), /longer than any code/]
])("a login by hand whose standard input is %s says how to pass the code", async (_, input, says) => {
  for (const args of ["login acme --manual", "login acme"]) {
    const ended = await run(args, input())
    expect(ended).toMatchObject({ code: 7, stdout: "" })
    expect(ended.stderr).toMatch(says)
    expect(ended.stderr).toMatch(/pass the code on standard input: echo CODE \| latchkey login acme --manual/)
    expect(ended.stderr).not.toContain("unexpected")
  }
  const inJson = await run("login acme --manual --json", input())
  expect(JSON.parse(inJson.stderr.trim().split("\n").at(-1)!)).toMatchObject({
    error: { code: 7, reason: "NoCode" }
  })
  expect(codes).toEqual([])
  expect(existsSync(join(room.folder, "data", "latchkey", "accounts"))).toBe(false)
})

it("a secret that nobody can be asked for is a failure that says where else it may come from", async () => {
  for (const input of [{ text: "hush\n" }, { file: "/dev/null" }, { shell: "<&-" }]) {
    expect(await run("login acme --client-credentials --ask-client-secret", input)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no terminal to ask for a secret[^]*--client-secret-env/)
    })
  }
})

it("Ctrl-D in a terminal gives the login up", async () => {
  const login = Terminal.open(program, room, ["login", "acme", "--manual"])
  await login.until(/Paste it here/)
  login.type("\u0004")
  expect(await login.ended).toBe(7)
  expect(login.screen()).toMatch(/was not finished: the input ended/)
  const secret = Terminal.open(program, room, [
    "login",
    "acme",
    "--client-credentials",
    "--ask-client-secret"
  ])
  await secret.until(/not shown\): /)
  secret.type("\u0004")
  expect(await secret.ended).toBe(2)
  expect(secret.screen()).toContain("No secret was entered")
})
