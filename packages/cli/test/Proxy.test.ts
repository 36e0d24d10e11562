/** `latchkey proxy` in its own process, between real HTTP clients and a real server. */
import { Credentials } from "@latchkey/core"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import * as Terminal from "./support/Terminal.js"

let program: string
let server: Http.Server
let origin: string
let room: Terminal.Room
/** A proxy that most tests use. Its token is always accepted. */
let proxy: Proxy
const running = new Set<ChildProcess>()

/** The server's state: the token that it accepts, how often it gave a new one, and what it has seen. */
let current: string
let refreshes: number
let seen: Array<{ readonly url: string; readonly headers: Http.IncomingHttpHeaders; readonly body: string }>

const read = async (message: Http.IncomingMessage): Promise<string> => {
  let text = ""
  for await (const part of message) text += String(part)
  return text
}

const answer = async (request: Http.IncomingMessage, response: Http.ServerResponse): Promise<unknown> => {
  const url = request.url ?? ""
  if (url === "/token") {
    await read(request)
    current = `canary-fresh-${++refreshes}`
    const tokens = {
      access_token: current,
      refresh_token: `canary-refresh-${refreshes}`,
      token_type: "Bearer"
    }
    return response
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ ...tokens, expires_in: 3600 }))
  }
  if (url === "/api/echo") {
    // Each part goes back as it comes.
    response.writeHead(200, { "content-type": "application/octet-stream" })
    for await (const part of request) response.write(part)
    return response.end()
  }
  if (url === "/api/events") {
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.write("data: first\n\n")
    await once(server, "second")
    return response.end("data: second\n\n")
  }
  if (url === "/api/slow") {
    server.emit("slow")
    return response.once("close", () => server.emit("given up"))
  }
  const body = await read(request)
  seen.push({ url, headers: request.headers, body })
  if (![`Bearer ${current}`, "Bearer canary-shared"].includes(request.headers.authorization ?? "")) {
    return response.writeHead(401, { "www-authenticate": 'Bearer error="invalid_token"' }).end()
  }
  if (url === "/api/away") return response.writeHead(302, { location: "https://other.example/x" }).end()
  if (url === "/api/moved") return response.writeHead(302, { location: `${origin}/api/new?a=1` }).end()
  if (url === "/api/host") return response.writeHead(302, { location: `${origin}/api//other.example` }).end()
  if (url === "/api/broken") {
    response.write("part")
    return setTimeout(() => request.socket.destroy(), 50)
  }
  if (url === "/api/cookies") return response.writeHead(204, { "set-cookie": ["a=1", "b=2; Path=/"] }).end()
  return response.writeHead(200, { "content-type": "text/plain", "x-own": "1" }).end(`got ${body}`)
}

const prepare = (): Terminal.Room => {
  const made = Terminal.room()
  const config = join(made.folder, "config", "latchkey")
  mkdirSync(config, { recursive: true })
  const acme = { server: { tokenEndpoint: `${origin}/token` }, client: { id: "acme" } }
  writeFileSync(join(config, "providers.json"), JSON.stringify({ providers: { acme } }), { mode: 0o600 })
  return made
}

beforeAll(async () => {
  program = await Terminal.bundle()
  server = Http.createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  room = prepare()
  await importGrant("canary-shared")
  proxy = await open()
}, 60_000)
afterAll(async () => {
  await stop(running)
  room.remove()
  server.close()
  server.closeAllConnections()
})

beforeEach(() => {
  current = "canary-access"
  refreshes = 0
  seen = []
})

const stop = async (children: Iterable<ChildProcess>) => {
  for (const child of children) await Terminal.stop(child)
}

/** Runs a test with an account and processes of its own. */
const alone = async (use: () => Promise<void>): Promise<void> => {
  const shared = room
  const before = new Set(running)
  room = prepare()
  try {
    await use()
  } finally {
    await stop([...running].filter((child) => !before.has(child)))
    room.remove()
    room = shared
  }
}

const ended = (args: ReadonlyArray<string>) => Terminal.run(program, room, args)

const importGrant = (accessToken = "canary-access", lifetime = 3_600_000) =>
  Terminal.importGrant(
    room,
    "acme",
    Credentials.make({
      accessToken,
      refreshToken: "canary-refresh-0",
      expiresAt: Math.floor(Date.now() / 1000) * 1000 + lifetime
    })
  )

interface Proxy {
  readonly url: string
  readonly secret: string
  readonly secretFile: string
  /** Everything that it has written. */
  readonly written: () => string
}

const open = async (to = `${origin}/api`): Promise<Proxy> => {
  const child = Terminal.start(program, room, ["proxy", "--account", "acme", "--to", to, "--json"])
  running.add(child)
  let text = ""
  child.stderr.on("data", (part) => (text += String(part)))
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string]
  const { secretFile, url } = JSON.parse(line) as { readonly secretFile: string; readonly url: string }
  return {
    url,
    secretFile,
    secret: readFileSync(secretFile, "utf8").trim(),
    written: () => line + text
  }
}

interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

/** Sends what no `fetch` would: any header, any path. */
const send = (
  { secret, url }: Proxy,
  path: string,
  options: {
    readonly method?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: string
  } = {}
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const request = Http.request(
      {
        hostname,
        port,
        path,
        method: options.method ?? "GET",
        headers: { authorization: `Bearer ${secret}`, ...options.headers }
      },
      (response) =>
        void read(response).then(
          (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
          reject
        )
    )
    request.once("error", reject)
    request.end(options.body)
  })

describe("a request", () => {
  it("gets the token in place of the secret, and keeps everything else", async () => {
    const answered = await send(proxy, "/v1/items?q=a%20b", {
      method: "POST",
      headers: { "x-trace": "7", "content-type": "application/json", connection: "x-hop", "x-hop": "1" },
      body: "{}"
    })
    expect(answered).toMatchObject({ status: 200, body: "got {}", headers: { "x-own": "1" } })
    expect(seen).toHaveLength(1)
    expect(seen[0]).toMatchObject({
      url: "/api/v1/items?q=a%20b",
      body: "{}",
      headers: { "x-trace": "7", "content-type": "application/json", host: new URL(origin).host }
    })
    expect(seen[0]!.headers).not.toHaveProperty("x-hop")
    expect(seen[0]!.headers).not.toHaveProperty("traceparent")
    expect(JSON.stringify(seen)).not.toContain(proxy.secret)
    expect(proxy.written()).not.toContain(proxy.secret)
    expect(proxy.written()).not.toContain("canary")
    expect(statSync(proxy.secretFile).mode & 0o777).toBe(0o600)
  })

  it("takes the secret as an API key, and never forwards it", async () => {
    const headers = { authorization: "", "x-api-key": proxy.secret }
    expect(await send(proxy, "/x", { headers })).toMatchObject({ status: 200 })
    expect(JSON.stringify(seen)).not.toContain(proxy.secret)
  })

  it("has the secret in no other header, and not in its address", async () => {
    const { secret } = proxy
    const headers = { "x-goog-api-key": secret, cookie: `a=1; key=${secret}` }
    expect(await send(proxy, "/x", { headers })).toMatchObject({ status: 200 })
    expect(await send(proxy, `/x?key=${secret}`)).toMatchObject({ status: 400 })
    expect(seen).toHaveLength(1)
    expect(JSON.stringify(seen)).not.toContain(secret)
  })

  it("may come from the fetch of Node", async () => {
    const headers = { authorization: `Bearer ${proxy.secret}` }
    expect((await fetch(`${proxy.url}/x`, { headers })).status).toBe(200)
  })

  it("is sent again once with a new token after a 401", async () => {
    await alone(async () => {
      await importGrant()
      const proxy = await open()
      current = "another"
      expect(await send(proxy, "/x", { method: "POST", body: "twice" })).toMatchObject({
        status: 200,
        body: "got twice"
      })
      expect(refreshes).toBe(1)
      expect(seen.map(({ body }) => body)).toEqual(["twice", "twice"])
    })
  })

  it("that is large is not sent again, but the next one has the new token", async () => {
    await alone(async () => {
      await importGrant()
      const proxy = await open()
      current = "another"
      const body = "x".repeat(100_000)
      expect(await send(proxy, "/x", { method: "POST", body })).toMatchObject({ status: 401 })
      expect(await send(proxy, "/x", { method: "POST", body })).toMatchObject({ status: 200 })
      expect(refreshes).toBe(1)
    })
  })

  it("gets a refreshed token if the stored one has expired", async () => {
    await alone(async () => {
      await importGrant("canary-access", -1000)
      const proxy = await open()
      expect(await send(proxy, "/x")).toMatchObject({ status: 200 })
      expect(refreshes).toBe(1)
    })
  })

  it.each([
    ["/../secret", 400],
    ["/..%2fsecret", 400],
    ["/x%2F%2e.%5csecret", 400],
    ["/..;/secret", 400],
    ["/group%2Fproject/a..b", 200],
    ["/x?path=../y", 200],
    ["/%2e%2e/secret", 400],
    ["http://other.example/", 400],
    ["//other.example/x", 200]
  ])("to %s stays below the server's path", async (path, status) => {
    expect(await send(proxy, path)).toMatchObject({ status })
    for (const { url } of seen) expect(url.startsWith("/api/")).toBe(true)
  })
})

describe("bodies", () => {
  it("stream in both directions while neither has ended", async () => {
    const { port } = new URL(proxy.url)
    const request = Http.request({
      port,
      host: "127.0.0.1",
      method: "POST",
      path: "/echo",
      headers: { authorization: `Bearer ${proxy.secret}`, "transfer-encoding": "chunked" }
    })
    request.write("one")
    const [response] = (await once(request, "response")) as [Http.IncomingMessage]
    expect(String((await once(response, "data"))[0])).toBe("one")
    request.write("two")
    expect(String((await once(response, "data"))[0])).toBe("two")
    request.end()
    await once(response, "end")
  })

  it("of server-sent events arrive one by one", async () => {
    const { port } = new URL(proxy.url)
    const request = Http.get({
      port,
      host: "127.0.0.1",
      path: "/events",
      headers: { authorization: `Bearer ${proxy.secret}` }
    })
    const [response] = (await once(request, "response")) as [Http.IncomingMessage]
    expect(response.headers["content-type"]).toBe("text/event-stream")
    expect(String((await once(response, "data"))[0])).toBe("data: first\n\n")
    server.emit("second")
    expect(String((await once(response, "data"))[0])).toBe("data: second\n\n")
  })
})

describe("a program that goes away", () => {
  it.each([
    ["without a body", "GET", ""],
    ["with a body", "POST", "x"]
  ])("before the response ends the request %s at the server at once", async (_, method, body) => {
    const arrived = once(server, "slow")
    const givenUp = once(server, "given up")
    const { port } = new URL(proxy.url)
    const headers = { authorization: `Bearer ${proxy.secret}`, "content-length": `${body.length}` }
    const request = Http.request({ port, host: "127.0.0.1", path: "/slow", method, headers, agent: false })
    request.once("error", () => undefined)
    request.end(body)
    await arrived
    request.destroy()
    await givenUp
  })
})

describe("a response", () => {
  it("redirects within the proxy, or away without a token", async () => {
    expect(await send(proxy, "/moved")).toMatchObject({ status: 302, headers: { location: "/new?a=1" } })
    expect(await send(proxy, "/away")).toMatchObject({
      status: 302,
      headers: { location: "https://other.example/x" }
    })
  })

  it("never redirects a path of the server to another host", async () => {
    expect(await send(proxy, "/host")).toMatchObject({
      status: 302,
      headers: { location: `${origin}/api//other.example` }
    })
  })

  it("that broke off does not look complete", async () => {
    await expect(send(proxy, "/broken")).rejects.toThrow("aborted")
  })

  it("keeps several cookies apart", async () => {
    const { headers, status } = await send(proxy, "/cookies")
    expect(status).toBe(204)
    expect(headers["set-cookie"]).toEqual(["a=1", "b=2; Path=/"])
  })
})

describe("who may use it", () => {
  it.each([
    ["without the secret", { authorization: "" }, 401, "Secret"],
    ["with another secret", { authorization: "Bearer wrong" }, 401, "Secret"],
    ["of a rebound name", { host: "evil.example" }, 403, "Host"],
    ["from a web page", { origin: "https://evil.example" }, 403, "WebPage"],
    ["from a page of the same site", { "sec-fetch-site": "same-origin" }, 403, "WebPage"]
  ])("a request %s is refused, and nothing is sent", async (_, headers, status, reason) => {
    const refused = await send(proxy, "/x", { headers })
    expect(refused.status).toBe(status)
    expect(JSON.parse(refused.body)).toMatchObject({ error: { reason } })
    expect(seen).toEqual([])
  })

  it("metrics need the secret too", async () => {
    await alone(async () => {
      await importGrant()
      const proxy = await open()
      await send(proxy, "/x")
      await send(proxy, "/x", { headers: { authorization: "" } })
      expect(await send(proxy, "/.latchkey/metrics", { headers: { authorization: "" } })).toMatchObject({
        status: 401
      })
      expect((await send(proxy, "/.latchkey/metrics")).body).toBe(
        [
          "# TYPE latchkey_proxy_responses_total counter",
          'latchkey_proxy_responses_total{status="2xx"} 1',
          "# TYPE latchkey_proxy_refusals_total counter",
          'latchkey_proxy_refusals_total{reason="Secret"} 2',
          ""
        ].join("\n")
      )
    })
  })

  it("a secret that others can read is refused", async () => {
    const file = join(room.folder, "shared")
    writeFileSync(file, "0123456789abcdef0123456789abcdef\n")
    chmodSync(file, 0o644)
    const { code, stderr } = await ended([
      "proxy",
      "--account",
      "acme",
      "--to",
      origin,
      "--secret-file",
      file
    ])
    expect(code).toBe(5)
    expect(stderr).toContain(`chmod 600 ${file}`)
  })
})

describe("problems", () => {
  it("a server that cannot be reached is a 502 without a token", async () => {
    const unreachable = await send(await open("http://127.0.0.1:1"), "/x")
    expect(unreachable.status).toBe(502)
    expect(JSON.parse(unreachable.body)).toMatchObject({ error: { reason: "Unreachable" } })
    expect(unreachable.body).not.toContain("canary")
  })

  it.each(["http://api.example.com", "https://user@api.example.com", "https://api.example.com?x", "nowhere"])(
    "%s is no server for a token",
    async (to) => {
      const { code, stderr } = await ended(["proxy", "--account", "acme", "--to", to])
      expect(code).toBe(2)
      expect(stderr).toContain("--to https://api.example.com")
    }
  )
})
