/**
 * The helper protocols with the programs that use them, each as its users run it: git, Docker and kubectl, if
 * they are installed. Bazel's requests, those of a git since 2.46, and Google's environment are played from
 * the bytes that their documents and sources show. The server requires the account's current token.
 */
import { Credentials } from "@latchkey/core"
import { execFileSync, spawn } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { describeWith } from "../../../.ci/describeWith.js"
import { docker, git, kubectl } from "../../../.ci/programs.js"
import * as Terminal from "./support/Terminal.js"

let program: string
let server: Server
let host: string
let room: Terminal.Room

/** The server's state: the token that it accepts, and what it has seen. */
let current: string
let refreshes: number
let seen: Array<{ readonly url: string; readonly authorization: string | undefined }>

const basic = (request: IncomingMessage): string | undefined => {
  const [, encoded] = /^Basic (.+)$/.exec(request.headers.authorization ?? "") ?? []
  return encoded === undefined
    ? undefined
    : Buffer.from(encoded, "base64")
        .toString()
        .replace(/^[^:]*:/, "")
}

const json = (response: ServerResponse, value: unknown, type = "application/json") =>
  response.writeHead(200, { "content-type": type }).end(JSON.stringify(value))

const refuse = (response: ServerResponse, scheme: string) =>
  response.writeHead(401, { "www-authenticate": `${scheme} realm="test"` }).end()

const image = JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [] } })
const manifest = {
  schemaVersion: 2,
  mediaType: "application/vnd.docker.distribution.manifest.v2+json",
  config: {
    mediaType: "application/vnd.docker.container.image.v1+json",
    size: image.length,
    digest: `sha256:${createHash("sha256").update(image).digest("hex")}`
  },
  layers: []
}

const answer = (request: IncomingMessage, response: ServerResponse): unknown => {
  const url = request.url ?? ""
  seen.push({ url, authorization: request.headers.authorization })
  if (url === "/token") {
    current = `canary-fresh-${++refreshes}`
    return json(response, {
      access_token: current,
      refresh_token: `canary-refresh-${refreshes}`,
      token_type: "Bearer",
      expires_in: 3600
    })
  }
  if (url.startsWith("/repo.git/")) {
    if (basic(request) !== current) return refuse(response, "Basic")
    const file = join(room.folder, url.replace(/\?.*/, ""))
    return existsSync(file) ? response.writeHead(200).end(readFileSync(file)) : response.writeHead(404).end()
  }
  if (url.startsWith("/v2/")) {
    if (basic(request) !== current) return refuse(response, "Basic")
    if (url.startsWith("/v2/app/blobs/")) return response.writeHead(200).end(image)
    return url === "/v2/" ? json(response, {}) : json(response, manifest, manifest.mediaType)
  }
  if (request.headers.authorization !== `Bearer ${current}`) return refuse(response, "Bearer")
  return json(response, { major: "1", minor: "30", gitVersion: "v1.30.0" })
}

beforeAll(async () => {
  program = await Terminal.bundle()
  server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`
}, 60_000)
afterAll(() => {
  server.close()
  server.closeAllConnections()
})

const expiresAt = Math.floor(Date.now() / 1000) * 1000 + 3_600_000

beforeEach(async () => {
  current = "canary-access"
  refreshes = 0
  seen = []
  room = Terminal.room({
    GIT_TERMINAL_PROMPT: "0",
    GIT_CONFIG_NOSYSTEM: "1",
    DOCKER_CONFIG: "",
    KUBECONFIG: ""
  })
  const shim = join(room.folder, "bin", "latchkey")
  writeFileSync(shim, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`)
  chmodSync(shim, 0o755)
  const config = join(room.folder, "config", "latchkey")
  mkdirSync(config, { recursive: true })
  const acme = { server: { tokenEndpoint: `http://${host}/token` }, client: { id: "acme" } }
  writeFileSync(join(config, "providers.json"), JSON.stringify({ providers: { acme } }), { mode: 0o600 })
  const grant = Credentials.make({ accessToken: current, refreshToken: "canary-refresh-0", expiresAt })
  await Terminal.importGrant(room, "acme", grant)
})
afterEach(() => room.remove())

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a line of a shell. No message of it may hold a token. */
const run = (line: string, input = "", env: Readonly<Record<string, string>> = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const child = spawn("sh", ["-c", line], { cwd: room.folder, env: { ...room.environment, ...env } })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (part) => (stdout += String(part)))
    child.stderr.on("data", (part) => (stderr += String(part)))
    child.stdin.on("error", () => undefined)
    child.stdin.end(input)
    child.on("close", (code) => {
      expect(stderr).not.toContain("canary")
      resolve({ code, stdout, stderr })
    })
  })

const asked = () => `protocol=http\nhost=${host}\n\n`
const credential = (protocol: string, action: string) =>
  `latchkey credential ${protocol} --for ${host}=acme ${action}`
const answered = (token = "canary-access") =>
  `username=oauth2\npassword=${token}\npassword_expiry_utc=${expiresAt / 1000}\n`

describe("the command as a helper", () => {
  it("git: answers for its hosts only, ignores what it does not know, and stores nothing", async () => {
    expect(await run(credential("git", "get"), asked())).toEqual({ code: 0, stdout: answered(), stderr: "" })
    const silent = { code: 0, stdout: "", stderr: "" }
    expect(await run(credential("git", "get"), "protocol=https\nhost=evil.example\n\n")).toEqual(silent)
    expect(await run(credential("git", "store"), `${asked().trim()}\npassword=canary-x\n\n`)).toEqual(silent)
    expect(await run(credential("git", "capability"), "")).toEqual(silent)
    expect(
      await run("latchkey credential git --for github.com=acme get", "protocol=http\nhost=github.com\n")
    ).toEqual({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/not asked over TLS[^]*next: use https/)
    })
  })

  it("git since 2.46, from its documented bytes: a bearer token if both sides can", async () => {
    const recent = `capability[]=authtype\ncapability[]=state\n${asked()}`
    expect(await run(`${credential("git", "get")} --bearer`, recent)).toMatchObject({
      code: 0,
      stdout: `capability[]=authtype\nauthtype=Bearer\ncredential=canary-access\nephemeral=1\npassword_expiry_utc=${expiresAt / 1000}\n`
    })
    expect(await run(credential("git", "get"), recent)).toMatchObject({ stdout: answered() })
    expect(await run(`${credential("git", "get")} --bearer`, asked())).toMatchObject({ code: 2, stdout: "" })
  })

  it("git: a request whose writer keeps the input open is answered at its blank line", async () => {
    const line = `{ printf 'protocol=http\\nhost=${host}\\n\\n'; sleep 30; } | ${credential("git", "get")}`
    const child = spawn("sh", ["-c", line], { cwd: room.folder, env: room.environment, detached: true })
    const first = await new Promise((resolve) => child.stdout.once("data", (part) => resolve(String(part))))
    expect(first).toBe(answered())
    process.kill(-child.pid!)
  })

  it("Bazel, from the bytes of its specification", async () => {
    const get = credential("bazel", "get")
    const expires = new Date(expiresAt).toISOString().replace(".000Z", "Z")
    expect(await run(get, JSON.stringify({ uri: `http://${host}/rest/endpoint` }))).toEqual({
      code: 0,
      stdout: `{"headers":{"Authorization":["Bearer canary-access"]},"expires":"${expires}"}\n`,
      stderr: ""
    })
    expect(await run(get, '{"uri":"grpcs://example.com/com.example.package.Service/Method"}')).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining("none of the hosts")
    })
  })

  it("Docker, from the bytes of its helpers' sources: get, list, and messages on stdout", async () => {
    expect(await run(credential("docker", "get"), host)).toEqual({
      code: 0,
      stdout: `{"ServerURL":"${host}","Username":"oauth2","Secret":"canary-access"}\n`,
      stderr: ""
    })
    expect(await run(credential("docker", "list"), "unused")).toMatchObject({
      code: 0,
      stdout: `{"${host}":"oauth2"}\n`
    })
    expect(await run(credential("docker", "get"), "evil.example")).toEqual({
      code: 1,
      stdout: "credentials not found in native keychain\n",
      stderr: ""
    })
    expect(await run(credential("docker", "get"), "\n")).toMatchObject({
      code: 1,
      stdout: "no credentials server URL\n"
    })
    const store = JSON.stringify({ ServerURL: host, Username: "a", Secret: "canary-x" })
    const stored = await run(credential("docker", "store"), store)
    expect(stored).toMatchObject({ code: 2, stdout: expect.stringContaining("stores no password") })
    expect(stored.stdout).not.toContain("canary")
    expect(await run(credential("docker", "erase"), host)).toMatchObject({
      code: 2,
      stdout: expect.stringContaining("latchkey logout")
    })
    const unknown = "latchkey credential docker --for a.example=nobody get"
    expect(await run(unknown, "a.example")).toEqual({
      code: 2,
      stdout: expect.stringMatching(/no account "nobody".* Next: /),
      stderr: ""
    })
  })

  it.each([
    ["git", "get", "canary-noise\0\xff\n"],
    ["git", "get", "password=canary-noise\n"],
    ["bazel", "get", '{"uri":"canary-noise'],
    ["bazel", "get", ""],
    ["bazel", "store", "{}"],
    ["git", "get", "x=canary-noise\n".repeat(10_000)],
    ["bazel", "get", "canary-noise".repeat(10_000)],
    ["svn", "get", ""]
  ])(
    "%s %s with an input that is no request fails with the next step, and quotes nothing",
    async (protocol, action, input) => {
      const ended = await run(credential(protocol, action), input)
      expect(ended).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/\n {4}next: \S/) })
    }
  )

  it("a reader or a writer that goes away is no crash", async () => {
    expect(await run(`${credential("git", "get")} | true`, asked())).toMatchObject({ stderr: "" })
    expect(await run("latchkey token acme --format kubectl | true")).toMatchObject({ stderr: "" })
    expect(await run(`${credential("git", "get")} <&-`)).toMatchObject({ code: 2, stdout: "" })
    expect(await run(`${credential("git", "get")} <.`)).toMatchObject({ code: 2, stdout: "" })
  })

  it("formats of token: what a shell and Google's libraries take", async () => {
    expect(await run('eval "$(latchkey token acme --format env --env T)"; echo "$T"')).toMatchObject({
      stdout: "canary-access\n"
    })
    expect(await run("latchkey token acme --format aws")).toMatchObject({ code: 2, stdout: "" })
    expect(await run("latchkey token acme --format env --json")).toMatchObject({ code: 2, stdout: "" })
    const opaque = await run("latchkey token acme --format gcloud")
    expect(opaque).toMatchObject({ code: 6, stdout: "", stderr: expect.stringContaining("not a JWT") })
    const env = { GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE: "//iam.googleapis.com/x" }
    const asGoogle = await run("latchkey token acme --format gcloud", "", env)
    expect(asGoogle).toMatchObject({ code: 0, stderr: "" })
    expect(JSON.parse(asGoogle.stdout)).toMatchObject({ version: 1, success: false, code: "NotAJwt" })
  })
})

describeWith(git, "git", () => {
  const fill = () => run("git credential fill", asked())

  beforeEach(async () => {
    // A helper for all hosts, which stores in clear text whatever it gets.
    await run("git config --global credential.helper store")
    expect(await run(`latchkey setup git acme --host ${host} --write`)).toMatchObject({ code: 0 })
    const bare = join(room.folder, "repo.git")
    const env = { ...room.environment, GIT_AUTHOR_DATE: "2026-11-27T12:00:00Z" }
    const author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    const make = (...args: ReadonlyArray<string>) => execFileSync("git", args, { cwd: room.folder, env })
    make("init", "--quiet", "source")
    make("-C", "source", ...author, "commit", "--quiet", "--allow-empty", "--message", "one")
    make("clone", "--quiet", "--bare", "source", bare)
    make("-C", bare, "update-server-info")
  })

  it("git credential fill gets the token with its expiry", async () => {
    const { code, stdout } = await fill()
    expect(code).toBe(0)
    // A git before 2.40 does not know the expiry, and leaves it out.
    const [major = 0, minor = 0] = execFileSync("git", ["--version"]).toString().match(/\d+/g)!.map(Number)
    const isKnown = major > 2 || (major === 2 && minor >= 40)
    const lines = answered()
      .trim()
      .split("\n")
      .filter((line) => isKnown || !line.startsWith("password_expiry_utc="))
    expect(stdout.trim().split("\n")).toEqual(["protocol=http", `host=${host}`, ...lines])
  })

  it("clones over HTTP, and no other helper stores the token", async () => {
    expect(await run(`git clone --quiet http://${host}/repo.git copy`)).toMatchObject({ code: 0 })
    expect(await run("git -C copy log --format=%s")).toMatchObject({ stdout: "one\n" })
    expect(existsSync(join(room.folder, ".git-credentials"))).toBe(false)
    expect(refreshes).toBe(0)
  })

  it("after the server has refused the token, the next command has another one", async () => {
    current = "canary-unknown"
    expect((await run(`git clone --quiet http://${host}/repo.git copy`)).code).not.toBe(0)
    expect(refreshes).toBe(1)
    expect(await run(`git clone --quiet http://${host}/repo.git copy`)).toMatchObject({ code: 0 })
    expect(refreshes).toBe(1)
    // A fresh token that is refused is no reason for a refresh at each command.
    current = "canary-unknown"
    const refused = await run(`git clone --quiet http://${host}/repo.git copy2`)
    expect(refused).toMatchObject({ stderr: expect.stringContaining("refused a token that is new") })
    expect(refreshes).toBe(1)
  })

  it("a submodule of another host gets no token", async () => {
    expect(await run("git credential fill", "protocol=https\nhost=evil.example\n\n")).toMatchObject({
      stdout: ""
    })
    const helper = `-c credential.helper='!${credential("git", "").trim()}'`
    expect(await run(`git ${helper} credential fill`, "protocol=https\nhost=evil.example\n\n")).toMatchObject(
      {
        stdout: ""
      }
    )
  })
})

describeWith(docker, "Docker", () => {
  it("reads a manifest of a registry that requires the token", { timeout: 60_000 }, async () => {
    const bin = join(room.folder, "bin")
    const env = { DOCKER_CONFIG: join(room.folder, "docker"), DOCKER_CLI_EXPERIMENTAL: "enabled" }
    const setup = `latchkey setup docker acme --host ${host} --directory ${bin} --write`
    expect(await run(setup, "", env)).toMatchObject({ code: 0 })
    const { stdout } = await run(`docker manifest inspect --insecure ${host}/app:1`, "", env)
    expect(stdout).toContain(manifest.mediaType)
    expect(seen.filter(({ authorization }) => authorization?.startsWith("Basic "))).not.toEqual([])
  })
})

describeWith(kubectl, "kubectl", () => {
  it("asks a cluster that requires the token", { timeout: 60_000 }, async () => {
    const env = { KUBECONFIG: join(room.folder, "kube") }
    expect(await run("latchkey setup kubectl acme --write", "", env)).toMatchObject({ code: 0 })
    // kubectl sends no token over plain http.
    const file = (name: string) => readFileSync(join(import.meta.dirname, "../../oauth/test/fixtures", name))
    const cluster = createTlsServer(
      { key: file("self-signed.key"), cert: file("self-signed.pem") },
      (request, response) => void answer(request, response)
    )
    await new Promise<void>((resolve) => cluster.listen(0, "127.0.0.1", resolve))
    const { port } = cluster.address() as AddressInfo
    await run(
      `kubectl config set-cluster c --server=https://127.0.0.1:${port} --insecure-skip-tls-verify=true && kubectl config set-context c --cluster=c --user=latchkey-acme-default && kubectl config use-context c`,
      "",
      env
    )
    const ended = await run("kubectl get --raw /version", "", env)
    cluster.close()
    cluster.closeAllConnections()
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining("v1.30.0") })
    expect(seen.at(-1)).toMatchObject({ authorization: "Bearer canary-access" })
  })
})
