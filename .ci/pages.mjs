/*
 * Follows the pages like a newcomer: in an empty folder, runs the lines of the page as they are printed, and
 * saves and runs each snippet. It replaces only the addresses of servers. For pack.mjs.
 */
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { delimiter, join } from "node:path"
import { promisify } from "node:util"
import { Provider } from "oidc-provider"

const root = join(import.meta.dirname, "..")
/** The pages whose snippets are whole programs. */
export const pages = [
  "README.md",
  "packages/docs/guide/start.md",
  "packages/docs/guide/calling-apis.md",
  ...["core", "oauth", "storage"].map((name) => `packages/${name}/README.md`)
]

const machine = (id, secret) => ({
  client_id: id,
  client_secret: secret,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: []
})

const listen = async (handle) => {
  const server = createServer((request, response) => handle(request, response))
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const stop = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${server.address().port}`, stop }
}

/** An authorization server with the clients in the pages, and an API that requires a token. */
export const startServers = async () => {
  let handle = (_, response) => response.writeHead(503).end()
  const id = await listen((request, response) => handle(request, response))
  const { info, warn } = console
  console.info = console.warn = () => undefined
  const provider = new Provider(id.url, {
    clients: [
      machine("my-service", "my-secret"),
      {
        client_id: "my-app",
        token_endpoint_auth_method: "none",
        redirect_uris: ["http://127.0.0.1/callback"],
        application_type: "native",
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"]
      }
    ],
    scopes: ["openid", "offline_access"],
    claims: { openid: ["sub"] },
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    cookies: { keys: ["only for tests"] },
    ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, RefreshToken: 600, Grant: 600 },
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: true } }
  })
  console.info = info
  console.warn = warn
  handle = provider.callback()
  const api = await listen((request, response) => {
    const carries = /^Bearer [\w-]{20,}$/.test(request.headers.authorization ?? "")
    response.writeHead(carries ? 200 : 401).end(carries ? "the reports" : "no token")
  })
  return {
    id: id.url,
    api: api.url,
    stop: () => {
      id.stop()
      api.stop()
    }
  }
}

/** Replaces the system's opener: a browser whose user logs in and consents. */
const browser = `#!${process.execPath}
import { get } from "node:http"
const cookies = new Map()
let url = new URL(process.argv.at(-1))
const home = url.origin
let body
for (let step = 0; step < 20; step++) {
  const cookie = [...cookies].map(([name, value]) => name + "=" + value).join("; ")
  const response = await fetch(url, { redirect: "manual", method: body ? "POST" : "GET", headers: { cookie }, body })
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
    cookies.set(name, value)
  }
  const location = response.headers.get("location")
  body = undefined
  if (location !== null) {
    url = new URL(location, url)
    if (url.origin === home) continue
    // Not by fetch, which says that it is a script's: the listener of a login answers to a page alone.
    get(url, (answer) => answer.resume())
    break
  }
  const page = await response.text()
  const prompt = /name="prompt" value="(\\w+)"/.exec(page)[1]
  url = new URL(/<form[^>]*action="([^"]+)"/.exec(page)[1], url)
  body = new URLSearchParams(prompt === "login" ? { prompt, login: "alice", password: "x" } : { prompt })
}
`

/** The fenced blocks of a page in order, each with its line. */
const blocksOf = (markdown) =>
  [...markdown.matchAll(/^```(ts|sh)\b.*\n([^]*?)^```$/gm)].map((block) => ({
    line: markdown.slice(0, block.index).split("\n").length,
    language: block[1],
    text: block[2]
  }))

const running = /\bnpx tsx@4 (\S+\.ts)$/
/** The setup of a folder, and the logins of the command. */
const followed = /^(?:npm install [^&]*|npm pkg set .*|npx @latchkey\/cli login acme .*)$/

/** A snippet without a printed line runs like the first one: with a client of its own, and no login. */
const machineVariables = (issuer) =>
  Object.fromEntries(
    ["OAUTH", "CALENDAR", "MAIL"].flatMap((name) => [
      [`${name}_ISSUER`, issuer],
      [`${name}_CLIENT_ID`, "my-service"],
      [`${name}_CLIENT_SECRET`, "my-secret"],
      [`${name}_GRANT`, "client_credentials"]
    ])
  )

/** The steps of a page, in order: `write` a file, `sh` a line. */
export const stepsOf = (markdown) => {
  const steps = []
  let waiting
  const flush = () => {
    if (waiting === undefined) return
    const file = `line-${waiting.line}.ts`
    steps.push({ write: file, text: waiting.text }, { sh: `npx tsx@4 ${file}`, own: true })
    waiting = undefined
  }
  for (const block of blocksOf(markdown)) {
    if (block.language === "ts") {
      flush()
      waiting = block
      continue
    }
    const lines = block.text.replace(/\\\n\s*/g, " ").split("\n")
    for (const line of lines.map((each) => each.replace(/\s+#.*$/, "").trim())) {
      const file = running.exec(line)?.[1]
      if (file !== undefined && waiting !== undefined) {
        steps.push({ write: file, text: waiting.text })
        waiting = undefined
      }
      if (file !== undefined || followed.test(line)) steps.push({ sh: line })
    }
  }
  flush()
  return steps
}

/** Follows a page in an empty folder. Returns the steps. Throws if a line fails. */
export const follow = async (page, { scratch, servers, variables }) => {
  const folder = mkdtempSync(join(scratch, "page-"))
  const home = join(scratch, "page-home")
  const bin = join(scratch, "page-bin")
  mkdirSync(home, { recursive: true })
  mkdirSync(bin, { recursive: true })
  for (const name of ["xdg-open", "open"]) {
    writeFileSync(join(bin, name), browser, { mode: 0o755 })
  }
  // Without a file ending, a program does not count as a module.
  writeFileSync(join(bin, "package.json"), '{"type":"module"}')
  const env = {
    ...process.env,
    ...variables,
    // The answer to npx, which asks before it fetches a program.
    npm_config_yes: "true",
    npm_config_prefer_offline: "true",
    npm_config_audit: "false",
    npm_config_fund: "false",
    XDG_DATA_HOME: join(home, "data"),
    XDG_CONFIG_HOME: join(home, "config"),
    LATCHKEY_ENCRYPTION: "none",
    PATH: `${bin}${delimiter}${process.env.PATH}`
  }
  const here = (text) =>
    text.replaceAll("https://id.example.com", servers.id).replaceAll("https://api.example.com", servers.api)
  const steps = stepsOf(readFileSync(join(root, page), "utf8"))
  for (const { own, sh, text, write } of steps) {
    if (write !== undefined) {
      writeFileSync(join(folder, write), here(text))
      continue
    }
    try {
      await promisify(execFile)("sh", ["-c", here(sh)], {
        cwd: folder,
        env: own ? { ...env, ...machineVariables(servers.id) } : env,
        timeout: 120_000
      })
    } catch (error) {
      throw new Error(`${page}: ${sh}\n${error.message}\n${error.stdout ?? ""}`)
    }
  }
  const lines = steps.filter(({ sh }) => sh !== undefined)
  const programs = lines.filter(({ sh }) => running.test(sh))
  if (programs.length === 0) throw new Error(`${page} has no snippet to run`)
  return `${lines.length} lines, of which ${programs.length} run a snippet`
}
