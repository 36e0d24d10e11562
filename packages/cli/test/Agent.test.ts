/**
 * `latchkey agent` in its own process, with the clients of the guide exactly as printed, and with those who
 * should get nothing.
 */
import { FetchHttpClient, type HttpClient } from "@effect/platform"
import { Credentials, TokenConfig, TokenManager } from "@latchkey/core"
import { Agent, ProviderManager, Providers } from "@latchkey/providers"
import { ConfigProvider, Effect, Either, Layer, Redacted } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync
} from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath, pathToFileURL } from "node:url"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { describeWith } from "../../../.ci/describeWith.js"
import { curl, python, root, systemdActivate } from "../../../.ci/programs.js"
import * as Terminal from "./support/Terminal.js"

let program: string
let server: Http.Server
let origin: string
let room: Terminal.Room
let socket: string
const running = new Set<ChildProcess>()
/** How many tokens the server gave, in all and in this test. */
let given = 0
let refreshes = 0

const guide = readFileSync(fileURLToPath(new URL("../../docs/guide/agent.md", import.meta.url)), "utf8")
/** A block of the guide. */
const block = (language: string): string =>
  new RegExp(`\`\`\`${language} agent-client\n(.*?)\`\`\``, "s").exec(guide)![1]!

const read = async (message: AsyncIterable<unknown>): Promise<string> => {
  let text = ""
  for await (const part of message) text += String(part)
  return text
}

const answer = async (request: Http.IncomingMessage, response: Http.ServerResponse) => {
  await read(request)
  refreshes++
  const tokens = {
    access_token: `canary-fresh-${++given}`,
    refresh_token: `canary-refresh-${given}`,
    token_type: "Bearer",
    expires_in: 3600
  }
  setTimeout(
    () => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(tokens)),
    50
  )
}

beforeAll(async () => {
  program = await Terminal.bundle()
  server = Http.createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  room = Terminal.room()
  const config = join(room.folder, "config", "latchkey")
  mkdirSync(config, { recursive: true })
  const acme = { server: { tokenEndpoint: `${origin}/token` }, client: { id: "acme" } }
  writeFileSync(join(config, "providers.json"), JSON.stringify({ providers: { acme } }), { mode: 0o600 })
  await importGrant("work", ["read", "write"])
  await importGrant("other", [])
  await importGrant("expired", [], -1000)
  await importGrant("guide", [], -1000)
  socket = join(room.folder, "own", "agent.sock")
  const accounts = ["acme/work", "acme/expired", "acme/guide"].flatMap((account) => ["--account", account])
  await open([...accounts, "--socket", socket])
}, 60_000)
afterAll(async () => {
  for (const child of running) await stop(child)
  room.remove()
  server.close()
  server.closeAllConnections()
})
beforeEach(() => {
  refreshes = 0
})

const stop = async (child: ChildProcess, signal?: NodeJS.Signals) => {
  await Terminal.stop(child, signal)
  running.delete(child)
}

const run = async (
  args: ReadonlyArray<string>,
  variables: Readonly<Record<string, string>> = {},
  command = process.execPath
) => {
  const child = spawn(command, [...args], {
    cwd: room.folder,
    env: { ...room.environment, ...variables }
  })
  const output = Promise.all([read(child.stdout), read(child.stderr)])
  const [code] = (await once(child, "close")) as [number]
  const [stdout, stderr] = await output
  return { code, stdout, stderr }
}
const latchkey = (args: ReadonlyArray<string>, variables: Readonly<Record<string, string>> = {}) =>
  run([program, ...args], variables)

const importGrant = (name: string, scopes: ReadonlyArray<string>, lifetime = 3_600_000) =>
  Terminal.importGrant(
    room,
    `acme/${name}`,
    Credentials.make({
      accessToken: `canary-access-${name}`,
      refreshToken: "canary-refresh",
      scopes,
      expiresAt: Math.floor(Date.now() / 1000) * 1000 + lifetime
    })
  )

interface Listening {
  readonly child: ChildProcess
  readonly addresses: ReadonlyArray<string>
}

const open = async (args: ReadonlyArray<string>): Promise<Listening> => {
  const child = spawn(process.execPath, [program, "agent", "--json", ...args], {
    cwd: room.folder,
    env: room.environment
  })
  running.add(child)
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string]
  const { listeners } = JSON.parse(line) as {
    readonly listeners: ReadonlyArray<{ readonly address: string }>
  }
  return { child, addresses: listeners.map(({ address }) => address) }
}

interface Answer {
  readonly status: number
  readonly value: Record<string, unknown>
}

const ask = (
  place: { readonly socketPath: string } | { readonly port: number },
  path: string,
  options: Http.RequestOptions = {},
  body = ""
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = Http.request(
      { host: "127.0.0.1", ...place, path, ...options, agent: false },
      (response) =>
        void read(response).then(
          (text) => resolve({ status: response.statusCode ?? 0, value: JSON.parse(text) as never }),
          reject
        )
    )
    request.once("error", reject)
    request.end(body)
  })

const problem = (status: number, reason: string) => ({ status, value: { error: { reason } } })

describe("a client on the socket", () => {
  it("gets what `latchkey token --json` prints, and never a refresh token", async () => {
    const { status, value } = await ask({ socketPath: socket }, "/token?account=acme/work")
    expect(status).toBe(200)
    const { stdout } = await latchkey(["token", "acme/work", "--json"])
    expect({ ...value, expiresInSeconds: 0 }).toEqual({
      ...(JSON.parse(stdout) as object),
      expiresInSeconds: 0
    })
    expect(JSON.stringify(value)).not.toContain("refresh")
  })

  it("shares one refresh with a hundred others", async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => ask({ socketPath: socket }, "/token?account=acme/expired"))
    )
    expect(new Set(answers.map(({ value }) => value["token"]))).toEqual(new Set([`canary-fresh-${given}`]))
    expect(refreshes).toBe(1)
  })

  it("gets another token for one that was rejected, once", async () => {
    const path = "/token?account=acme/expired"
    const { value } = await ask({ socketPath: socket }, path)
    const reject = () =>
      ask({ socketPath: socket }, "/reject?account=acme/expired", { method: "POST" }, String(value["token"]))
    const [first, second] = await Promise.all([reject(), reject()])
    expect(first.value["token"]).toBe(`canary-fresh-${given}`)
    expect(second.value["token"]).toBe(`canary-fresh-${given}`)
    expect(first.value["token"]).not.toBe(value["token"])
    expect(refreshes).toBe(1)
  })

  it("may not use another account, nor learn whether it exists", async () => {
    const known = await ask({ socketPath: socket }, "/token?account=acme/other")
    const unknown = await ask({ socketPath: socket }, "/token?account=acme/never")
    expect(known).toMatchObject(problem(403, "NotAllowed"))
    expect(JSON.stringify(known).replace("other", "never")).toBe(JSON.stringify(unknown))
  })

  it.each([
    ["GET", "/", 400],
    ["GET", "/token", 400],
    ["GET", "/token?account=acme/work&min_validity=soon", 400],
    ["POST", "/token?account=acme/work", 400],
    ["DELETE", "/token?account=acme/work", 400],
    ["GET", "/reject?account=acme/work", 400]
  ])("%s %s is explained", async (method, path, status) => {
    const refused = await ask({ socketPath: socket }, path, { method })
    expect(refused.status).toBe(status)
    expect(refused.value["error"]).toMatchObject({ reason: "Usage" })
  })

  it("gets no token with a scope that it may not have, nor one of unknown scopes", async () => {
    const place = join(room.folder, "own", "scoped.sock")
    const { child } = await open([
      ...["--account", "acme/work", "--account", "acme/other"],
      ...["--scope", "read", "--socket", place]
    ])
    expect(await ask({ socketPath: place }, "/token?account=acme/work")).toMatchObject(problem(403, "Scopes"))
    expect(await ask({ socketPath: place }, "/token?account=acme/other")).toMatchObject(
      problem(403, "Scopes")
    )
    await stop(child)
  })
})

describe("clients that go away", () => {
  it("hold up no other one, not even before the account is opened", async () => {
    const place = join(room.folder, "own", "away.sock")
    const { child } = await open(["--account", "acme/work", "--account", "acme/expired", "--socket", place])
    for (const account of ["acme/work", "acme/expired"]) {
      for (let i = 0; i < 20; i++) {
        const gone = Http.get({ socketPath: place, path: `/token?account=${account}`, agent: false })
        gone.once("error", () => undefined)
        await once(gone, "finish")
        setTimeout(() => gone.destroy(), i)
      }
      expect(await ask({ socketPath: place }, `/token?account=${account}`)).toMatchObject({ status: 200 })
    }
    await stop(child)
  })
})

describe("the socket", () => {
  it("is for its user alone", async () => {
    expect(statSync(socket).mode & 0o777).toBe(0o600)
    expect(statSync(join(room.folder, "own")).mode & 0o777).toBe(0o700)
  })

  it("is not taken from a live agent, and is taken over from a dead one", async () => {
    const place = join(room.folder, "own", "second.sock")
    const args = ["--account", "acme/work", "--socket", place]
    const { child } = await open(args)
    const { code, stderr } = await latchkey(["agent", ...args])
    expect(code).toBe(6)
    expect(stderr).toContain("another program uses it")
    await stop(child, "SIGKILL")
    expect(existsSync(place)).toBe(true)
    const again = await open(args)
    expect(await ask({ socketPath: place }, "/token?account=acme/work")).toMatchObject({ status: 200 })
    await stop(again.child)
    expect(existsSync(place)).toBe(false)
  })

  it("is not opened where others could put theirs", async () => {
    const shared = join(room.folder, "shared")
    mkdirSync(shared)
    chmodSync(shared, 0o777)
    const place = join(shared, "agent.sock")
    const { code, stderr } = await latchkey(["agent", "--account", "acme/work", "--socket", place])
    expect(code).toBe(5)
    expect(stderr).toContain(`chmod 700 ${shared}`)
  })

  it("does not replace a file", async () => {
    const place = join(room.folder, "own", "file")
    writeFileSync(place, "precious")
    const { code } = await latchkey(["agent", "--account", "acme/work", "--socket", place])
    expect(code).toBe(6)
    expect(readFileSync(place, "utf8")).toBe("precious")
  })
})

describe("a port", () => {
  it("needs the secret, its own host, and no web page", async () => {
    const secretFile = join(room.folder, "agent.secret")
    const { addresses, child } = await open([
      ...["--account", "acme/work", "--port", "0", "--secret-file", secretFile]
    ])
    const port = Number(new URL(addresses[0]!).port)
    const authorization = `Bearer ${readFileSync(secretFile, "utf8").trim()}`
    const path = "/token?account=acme/work"
    expect(await ask({ port }, path)).toMatchObject(problem(401, "Secret"))
    expect(await ask({ port }, path, { headers: { authorization } })).toMatchObject({ status: 200 })
    expect(await ask({ port }, path, { headers: { authorization, host: "evil.example" } })).toMatchObject(
      problem(403, "Host")
    )
    expect(
      await ask({ port }, path, { headers: { authorization, origin: "http://localhost" } })
    ).toMatchObject(problem(403, "WebPage"))
    const variables = { LATCHKEY_AGENT: addresses[0]!, LATCHKEY_AGENT_SECRET_FILE: secretFile }
    expect(await latchkey(["token", "acme/work"], variables)).toEqual({
      code: 0,
      stdout: "canary-access-work\n",
      stderr: ""
    })
    await stop(child)
  })
})

describe("the command with LATCHKEY_AGENT", () => {
  const elsewhere = () => ({ HOME: join(room.folder, "empty"), XDG_DATA_HOME: join(room.folder, "empty") })

  it("needs no accounts of its own", async () => {
    const variables = { ...elsewhere(), LATCHKEY_AGENT: socket }
    expect(await latchkey(["token", "acme/work", "--header"], variables)).toMatchObject({
      code: 0,
      stdout: "Authorization: Bearer canary-access-work\n"
    })
    expect(
      await latchkey(["exec", "acme/work", "--", "sh", "-c", "echo $ACCESS_TOKEN"], variables)
    ).toMatchObject({ code: 0, stdout: "canary-access-work\n" })
  })

  it("prints a token without loading Effect", async () => {
    const coverage = join(room.folder, "coverage")
    const variables = { ...elsewhere(), LATCHKEY_AGENT: socket, NODE_V8_COVERAGE: coverage }
    expect(await latchkey(["token", "acme/work"], variables)).toEqual({
      code: 0,
      stdout: "canary-access-work\n",
      stderr: ""
    })
    // The bundle's files that ran, which are named after those of the sources.
    const loaded = readdirSync(coverage)
      .map((file) => readFileSync(join(coverage, file), "utf8"))
      .join("")
    expect(loaded).toContain("/bin.js")
    expect(loaded).not.toMatch(/\/(?:main|Run)-[^/]*\.js/)
  })

  it("serves the managers of other programs, which store nothing", async () => {
    const token = (
      layer: Layer.Layer<TokenManager.TokenManager, unknown, TokenConfig.TokenConfig | HttpClient.HttpClient>
    ) =>
      TokenManager.TokenManager.pipe(
        Effect.flatMap((manager) => manager.getAccessToken),
        Effect.provide(Layer.provide(layer, [TokenConfig.layer(), FetchHttpClient.layer])),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["LATCHKEY_AGENT", socket]]))),
        Effect.either
      )
    const ofAgent = await Effect.runPromise(token(Agent.layer({ address: socket }, "acme/work")))
    expect(Either.map(ofAgent, Redacted.value)).toEqual(Either.right("canary-access-work"))
    const claude = Effect.flatMap(Providers.Providers, (providers) => providers.get("claude")).pipe(
      Effect.provide(Providers.layer())
    )
    const provider = await Effect.runPromise(claude)
    const refused = await Effect.runPromise(token(ProviderManager.layer(provider, { account: "work" })))
    expect(Either.mapLeft(refused, String)).toMatchObject({
      left: expect.stringContaining('This client may not use "claude/work".') as string
    })
  })

  it.each([
    ["is not there", () => join(room.folder, "none.sock"), 4, "there is no such socket"],
    ["is no address", () => "agent.sock", 6, "neither the path of a socket nor an address"],
    ["is another machine", () => "http://agent.example:80", 6, "neither the path of a socket nor an address"]
  ])("says so if the agent %s", async (_, address, code, words) => {
    const ended = await latchkey(["token", "acme/work"], { ...elsewhere(), LATCHKEY_AGENT: address() })
    expect(ended.code).toBe(code)
    expect(ended.stderr).toContain(words)
  })

  it("says so if the agent breaks off its answer", async () => {
    const place = join(room.folder, "own", "broken.sock")
    const broken = Http.createServer((_, response) => {
      response.writeHead(200, { "content-length": "100" }).write("{")
      setTimeout(() => response.destroy(), 50)
    }).listen(place)
    await once(broken, "listening")
    const { code, stderr } = await latchkey(["token", "acme/work"], { LATCHKEY_AGENT: place })
    expect(code).toBe(4)
    expect(stderr).toContain("the connection broke")
    broken.close()
  })

  it("passes the agent's refusal on", async () => {
    const ended = await latchkey(["token", "acme/other"], { LATCHKEY_AGENT: socket })
    expect(ended.code).toBe(2)
    expect(ended.stderr).toContain("This client may not use")
  })
})

describe("a file of clients", () => {
  const write = (config: unknown): string => {
    const path = join(room.folder, "agent.json")
    writeFileSync(path, typeof config === "string" ? config : JSON.stringify(config))
    return path
  }

  it("gives each client its own socket and accounts", async () => {
    const [one, two] = [join(room.folder, "own", "1.sock"), join(room.folder, "own", "2.sock")]
    const clients = [
      { socket: one, accounts: ["acme/work"] },
      { socket: two, accounts: ["acme/other"] }
    ]
    const { child } = await open(["--config", write({ clients })])
    expect(await ask({ socketPath: one }, "/token?account=acme/work")).toMatchObject({ status: 200 })
    expect(await ask({ socketPath: one }, "/token?account=acme/other")).toMatchObject({ status: 403 })
    expect(await ask({ socketPath: two }, "/token?account=acme/other")).toMatchObject({ status: 200 })
    await stop(child)
  })

  it.each([
    ["{", "is no file of an agent"],
    [{ clients: [] }, "is no file of an agent"],
    [{ clients: [{ accounts: ["acme/work"] }] }, "either socket, or port"],
    [{ clients: [{ socket: "/x", account: ["acme/work"] }] }, "is no file of an agent"]
  ])("%j is explained", async (config, words) => {
    const { code, stderr } = await latchkey(["agent", "--config", write(config)])
    expect(code).toBe(6)
    expect(stderr).toContain(words)
  })
})

describe("the clients of the guide", () => {
  it("TypeScript", async () => {
    const file = join(room.folder, "client.mts")
    writeFileSync(file, block("ts"))
    const { getToken, rejectToken } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as {
      readonly getToken: (socket: string, account: string) => Promise<{ readonly token: string }>
      readonly rejectToken: (
        socket: string,
        account: string,
        token: string
      ) => Promise<{ readonly token: string }>
    }
    const { token } = await getToken(socket, "acme/guide")
    expect(token).toMatch(/^canary-fresh-/)
    expect((await rejectToken(socket, "acme/guide", token)).token).toBe(`canary-fresh-${given}`)
    expect(refreshes).toBe(2)
    await expect(getToken(socket, "acme/other")).rejects.toThrow("This client may not use")
  })
})

describeWith(python, "Python", () => {
  it("has a client of its own", async () => {
    const file = join(room.folder, "client.py")
    writeFileSync(file, `${block("python")}\nimport sys\nprint(get_token(sys.argv[1], sys.argv[2]))\n`)
    expect(await run([file, socket, "acme/work"], {}, python.path)).toMatchObject({
      code: 0,
      stdout: "canary-access-work\n"
    })
  })
})

describeWith(curl, "curl", () => {
  it("asks in one line", async () => {
    const line = /^curl .*--unix-socket.*$/m.exec(guide)![0]
    const own = line.replace("~/agent.sock", socket).replace("github/work", "acme/work")
    const { code, stdout } = await run(["-c", own], {}, "/bin/sh")
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ account: "acme/work", token: "canary-access-work" })
  })
})

describeWith(systemdActivate, "systemd", () => {
  it("opens the socket, and starts the agent when it is used", async () => {
    const place = join(room.folder, "own", "systemd.sock")
    // It passes on no other variables.
    const passed = ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "LATCHKEY_ENCRYPTION"].map(
      (name) => `--setenv=${name}`
    )
    const child = spawn(
      systemdActivate.path!,
      [`--listen=${place}`, ...passed, process.execPath, program, "agent", "--account", "acme/work"],
      { cwd: room.folder, env: room.environment }
    )
    running.add(child)
    await expect.poll(() => existsSync(place)).toBe(true)
    expect(await ask({ socketPath: place }, "/token?account=acme/work")).toMatchObject({ status: 200 })
    await stop(child)
  })

  const activated = async (listen: string, connect: Parameters<typeof ask>[0], mode?: number) => {
    const child = spawn(
      systemdActivate.path!,
      [
        `--listen=${listen}`,
        ...["XDG_DATA_HOME", "XDG_CONFIG_HOME", "LATCHKEY_ENCRYPTION"].map((name) => `--setenv=${name}`),
        ...[process.execPath, program, "agent", "--account", "acme/work"]
      ],
      { cwd: room.folder, env: room.environment }
    )
    running.add(child)
    let stderr = ""
    child.stderr.on("data", (part) => (stderr += String(part)))
    await expect.poll(() => stderr).toContain("Listening on")
    if (mode !== undefined) chmodSync(listen, mode)
    const answer = await ask(connect, "/token?account=acme/work").catch(() => undefined)
    if (answer === undefined) await expect.poll(() => stderr, { timeout: 10_000 }).toContain("next:")
    await stop(child)
    return { answer, stderr }
  }

  it("accepts the units of the guide, and says so if there is a mistake in them", async () => {
    const units = join(room.folder, "units")
    mkdirSync(units)
    const [socketUnit = "", serviceUnit = ""] = [...guide.matchAll(/```ini\n(.*?)```/gs)].map(
      ([, text]) => text
    )
    const verify = async (socketText: string) => {
      const files = [join(units, "latchkey.socket"), join(units, "latchkey.service")] as const
      writeFileSync(files[0], socketText)
      writeFileSync(files[1], serviceUnit.replace("/usr/local/bin/latchkey", process.execPath))
      const { code, stderr } = await run(
        ["verify", "--user", "--man=no", ...files],
        { XDG_RUNTIME_DIR: room.folder },
        join(dirname(systemdActivate.path!), "systemd-analyze")
      )
      return { code, stderr }
    }
    expect(await verify(socketUnit)).toEqual({ code: 0, stderr: "" })
    expect((await verify(socketUnit.replace("SocketMode", "SocketMod"))).stderr).toContain("Unknown key")
    // The container of the guide finds that socket.
    const [, folder = "", inside = ""] = /- (\/run\/user\/1000\/\S+):(\S+):ro/.exec(guide) ?? []
    expect(socketUnit).toContain(`ListenStream=${folder.replace("/run/user/1000", "%t")}/agent.sock`)
    expect(guide).toContain(`LATCHKEY_AGENT: ${inside}/agent.sock`)
  })

  it("may not open it to others", async () => {
    const shared = join(room.folder, "listening")
    mkdirSync(shared)
    chmodSync(shared, 0o755)
    const place = join(shared, "open.sock")
    const open = await activated(place, { socketPath: place }, 0o666)
    expect(open.answer).toBeUndefined()
    expect(open.stderr).toContain(`The socket ${place} that systemd has opened lets other users connect.`)
    expect(open.stderr).toContain("SocketMode=0600")
    const own = join(shared, "own.sock")
    expect(await activated(own, { socketPath: own }, 0o600)).toMatchObject({ answer: { status: 200 } })
  })

  it("may not give it a port that other machines reach", async () => {
    const free = Http.createServer().listen(0, "127.0.0.1")
    await once(free, "listening")
    const { port } = free.address() as AddressInfo
    free.close()
    await once(free, "close")
    const wide = await activated(`0.0.0.0:${port}`, { port })
    expect(wide.answer).toBeUndefined()
    expect(wide.stderr).toContain(`ListenStream=127.0.0.1:${port}`)
    expect(await activated(`127.0.0.1:${port}`, { port })).toMatchObject({ answer: { status: 401 } })
  })
})

describeWith(root, "another user of the host", () => {
  it("cannot connect to the socket", async () => {
    chmodSync(room.folder, 0o755)
    // It becomes the other user once it runs, because Node itself may be in a directory that is private.
    const script = `process.setgroups([]); process.setgid(65534); process.setuid(65534)
      require("node:net").connect(${JSON.stringify(socket)})
        .on("connect", () => console.log("in")).on("error", (e) => console.log(e.code))`
    const child = spawn(process.execPath, ["-e", script], { env: {}, cwd: "/" })
    expect((await read(child.stdout)).trim()).toBe("EACCES")
  })

  it("cannot have the command ask a socket of theirs", async () => {
    const place = join(room.folder, "own", "theirs.sock")
    const theirs = Http.createServer().listen(place)
    await once(theirs, "listening")
    chownSync(place, 65_534, 65_534)
    const { code, stderr } = await latchkey(["token", "acme/work"], { LATCHKEY_AGENT: place })
    expect(code).toBe(6)
    expect(stderr).toContain("belongs to another user")
    theirs.close()
  })
})
