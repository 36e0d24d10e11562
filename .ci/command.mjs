/*
 * The installed command, used as a new user would: help, a login with client credentials at a server on this
 * machine, a token, the status, logout. For pack.mjs, which installs it.
 */
import { spawn } from "node:child_process"
import { createServer } from "node:http"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** Answers like the token endpoint of a server, and counts revocations. */
const startServer = async () => {
  let revoked = 0
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (chunk) => (body += chunk))
    request.on("end", () => {
      const answer = (status, value) =>
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
      if (request.url === "/token" && new URLSearchParams(body).get("grant_type") === "client_credentials") {
        const expected = `Basic ${Buffer.from("machine:packedsecret").toString("base64")}`
        if (request.headers.authorization !== expected) return answer(401, { error: "invalid_client" })
        return answer(200, { access_token: "packed-access-token", token_type: "Bearer", expires_in: 3600 })
      }
      if (request.url === "/revoke") {
        revoked++
        return answer(200, {})
      }
      answer(404, {})
    })
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    revoked: () => revoked,
    stop: () => {
      server.close()
      server.closeAllConnections()
    }
  }
}

/** Uses the command that is installed in `project`. Returns the steps. Throws if one fails. */
export const useCommand = async (project) => {
  const home = join(project, "home")
  const config = join(home, "config", "latchkey")
  mkdirSync(config, { recursive: true })
  const env = {
    ...process.env,
    HOME: home,
    XDG_DATA_HOME: join(home, "data"),
    XDG_CONFIG_HOME: join(home, "config"),
    MACHINE_SECRET: "packedsecret"
  }
  const taken = []
  // Not with spawnSync, which would stop the server in this process.
  const expect = (args, code, stdout) =>
    new Promise((resolve, reject) => {
      const child = spawn(join(project, "node_modules/.bin/latchkey"), args, { cwd: project, env })
      const said = { stdout: "", stderr: "" }
      for (const name of ["stdout", "stderr"]) child[name].on("data", (chunk) => (said[name] += chunk))
      child.on("error", reject)
      child.on("close", (ended) => {
        taken.push(args[0])
        if (ended === code && stdout.test(said.stdout)) return resolve()
        reject(new Error(`latchkey ${args.join(" ")} ended with ${ended}:\n${said.stdout}\n${said.stderr}`))
      })
    })
  const server = await startServer()
  try {
    const acme = {
      server: { tokenEndpoint: `${server.url}/token`, revocationEndpoint: `${server.url}/revoke` },
      client: { id: "machine", authentication: "basic" },
      login: { ways: ["clientCredentials"] }
    }
    writeFileSync(join(config, "providers.json"), JSON.stringify({ providers: { acme } }))
    await expect(["--version"], 0, /\d+\.\d+\.\d+/)
    await expect(["--help"], 0, /doctor/)
    await expect(["list"], 3, /^$/)
    await expect(["login", "acme", "--client-credentials", "--client-secret-env", "MACHINE_SECRET"], 0, /^$/)
    await expect(["token", "acme"], 0, /^packed-access-token\n$/)
    await expect(["status", "acme"], 0, /acme +default +valid +in 59 min/)
    await expect(["doctor"], 0, /its token is valid/)
    await expect(["logout", "acme"], 0, /^$/)
    if (server.revoked() === 0) throw new Error("latchkey logout revoked nothing")
    await expect(["token", "acme"], 2, /^$/)
    return taken.join(", ")
  } finally {
    server.stop()
  }
}
