/*
 * The packed tarballs, installed into an empty folder with npm and used as a new user would: help, a login with
 * client credentials at a server on this machine, a token, the state, logout.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { createServer } from "node:http"
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const folder = mkdtempSync(join(tmpdir(), "latchkey-tarball-"))
const packed = join(folder, "packed")
const user = join(folder, "user")
for (const directory of [packed, user]) mkdirSync(directory)

const fail = (what) => {
  throw new Error(what)
}

/** Answers as the token endpoint of a server does, and counts what is revoked. */
let revoked = 0
const server = createServer((request, response) => {
  let body = ""
  request.on("data", (chunk) => (body += chunk))
  request.on("end", () => {
    const answer = (status, value) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
    if (request.url === "/token" && new URLSearchParams(body).get("grant_type") === "client_credentials") {
      const expected = `Basic ${Buffer.from("machine:tarballsecret").toString("base64")}`
      if (request.headers.authorization !== expected) return answer(401, { error: "invalid_client" })
      return answer(200, { access_token: "tarball-access-token", token_type: "Bearer", expires_in: 3600 })
    }
    if (request.url === "/revoke") {
      revoked++
      return answer(200, {})
    }
    answer(404, {})
  })
})
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const url = `http://127.0.0.1:${server.address().port}`

const env = {
  ...process.env,
  HOME: user,
  XDG_DATA_HOME: join(user, "data"),
  XDG_CONFIG_HOME: join(user, "config"),
  npm_config_cache: execFileSync("npm", ["config", "get", "cache"], { encoding: "utf8" }).trim(),
  MACHINE_SECRET: "tarballsecret"
}

/** Not by spawnSync, which would stop the server of this process. */
const latchkey = (...args) =>
  new Promise((resolve) => {
    const child = spawn("npx", ["--no-install", "latchkey", ...args], { cwd: user, env })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk) => (stdout += chunk))
    child.stderr.on("data", (chunk) => (stderr += chunk))
    child.on("close", (code) => resolve({ code, stdout, stderr }))
  })

const expect = async (args, code, stdout) => {
  const ended = await latchkey(...args)
  if (ended.code !== code || !stdout.test(ended.stdout)) {
    fail(`latchkey ${args.join(" ")} ended with ${ended.code}:\n${ended.stdout}\n${ended.stderr}`)
  }
  console.log(`ok   latchkey ${args.join(" ")}`)
}

try {
  for (const name of ["core", "oauth", "storage", "providers", "cli"]) {
    execFileSync("npm", ["pack", "--silent", "--pack-destination", packed], {
      cwd: join(root, "packages", name)
    })
  }
  const tarballs = readdirSync(packed).map((file) => join(packed, file))
  writeFileSync(join(user, "package.json"), '{ "private": true }')
  const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", ...tarballs]
  const installed = spawnSync("npm", install, {
    cwd: user,
    env: { ...env, HOME: process.env.HOME },
    encoding: "utf8"
  })
  if (installed.status !== 0) fail(installed.stderr)
  console.log(`ok   npm install of ${tarballs.length} tarballs`)

  mkdirSync(join(user, "config", "latchkey"), { recursive: true })
  const acme = {
    server: { tokenEndpoint: `${url}/token`, revocationEndpoint: `${url}/revoke` },
    client: { id: "machine", authentication: "basic" },
    login: { ways: ["clientCredentials"] }
  }
  writeFileSync(join(user, "config", "latchkey", "providers.json"), JSON.stringify({ providers: { acme } }))

  await expect(["--help"], 0, /doctor/)
  await expect(["list"], 3, /^$/)
  await expect(["login", "acme", "--client-credentials", "--client-secret-env", "MACHINE_SECRET"], 0, /^$/)
  await expect(["token", "acme"], 0, /^tarball-access-token\n$/)
  await expect(["status", "acme"], 0, /acme +default +valid +in 59 min/)
  await expect(["doctor"], 0, /its token is valid/)
  await expect(["logout", "acme"], 0, /^$/)
  if (revoked === 0) fail("logout revoked nothing")
  await expect(["token", "acme"], 2, /^$/)
} finally {
  server.close()
  server.closeAllConnections()
  rmSync(folder, { recursive: true, force: true })
}
