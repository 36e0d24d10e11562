/** MCP servers by the command: logged in to in a terminal, and bridged to the SDK's client. */
import { Client } from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import { Effect, Exit, Scope } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { get } from "node:http"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it, vi } from "vitest"
import * as World from "../../mcp/test/support/World.js"
import { confirmCode, consent } from "../../oauth/test/support/interaction.js"
import * as Terminal from "./support/Terminal.js"

let scope: Scope.CloseableScope
let world: World.World
let program: string
let room: Terminal.Room

beforeAll(async () => {
  vi.spyOn(console, "info").mockReturnValue(undefined)
  scope = Effect.runSync(Scope.make())
  program = await Terminal.bundle()
  world = await Effect.runPromise(
    Scope.extend(World.make({ features: { deviceFlow: { enabled: true } } }), scope)
  )
  room = Terminal.room()
}, 60_000)
afterAll(async () => {
  room.remove()
  vi.restoreAllMocks()
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

const run = (...args: ReadonlyArray<string>) => Terminal.run(program, room, args)

const bridge = async (): Promise<Client> => {
  const client = new Client({ name: "test", version: "1.0.0" })
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [program, "mcp", "proxy", world.url],
      env: room.environment
    })
  )
  return client
}

const pong = [{ type: "text", text: "pong" }]

it("nobody is logged in yet", async () => {
  expect(await run("mcp", "list")).toMatchObject({
    code: 0,
    stderr: expect.stringContaining("latchkey mcp login URL")
  })
  expect(await run("token", `mcp:${world.url}`)).toMatchObject({
    code: 3,
    stderr: expect.stringContaining(`latchkey mcp login ${world.url}`)
  })
  expect(await run("mcp", "proxy", world.url)).toMatchObject({ code: 3 })
  expect(await run("mcp", "login", "http://mcp.example.com")).toMatchObject({ code: 2 })
})

it("a login in the browser, a token, a list, and bridges that share them", async () => {
  const login = Terminal.open(program, room, ["mcp", "login", world.url])
  await login.until(/Waiting for the browser/)
  await vi.waitFor(() => expect(existsSync(join(room.folder, "opened"))).toBe(true), 5000)
  const end = await Effect.runPromise(consent(new URL(readFileSync(join(room.folder, "opened"), "utf8"))))
  await new Promise((done) => get(end, done))
  await login.until(/Logged in to/)
  expect(await login.ended).toBe(0)

  const token = await run("token", `mcp:${world.url}`)
  expect(token).toMatchObject({ code: 0, stderr: "" })
  expect(login.screen()).not.toContain(token.stdout.trim())
  const list = await run("mcp", "list", "--json")
  expect(JSON.parse(list.stdout)).toMatchObject({
    servers: [{ url: world.url, state: "valid", issuer: world.auth.issuer }]
  })
  expect(list.stdout).not.toContain(token.stdout.trim())

  const clients = await Promise.all([bridge(), bridge()])
  await Effect.runPromise(world.endAccessTokens)
  const answers = await Promise.all(clients.map((client) => client.callTool({ name: "ping", arguments: {} })))
  expect(answers.map(({ content }) => content)).toEqual([pong, pong])
  expect(world.refreshes()).toBe(1)
  expect((await run("token", `mcp:${world.url}`)).stdout).not.toBe(token.stdout)
  await Promise.all(clients.map((client) => client.close()))
  expect([world.logins(), world.registrations()]).toEqual([1, 1])
}, 120_000)

it("a login by hand", async () => {
  const login = Terminal.open(program, room, ["mcp", "login", world.url, "--manual"])
  const [url] = await login.until(/https?:\/\/127\.0\.0\.1:\d+\/auth\?\S+/)
  login.type(`${(await Effect.runPromise(consent(new URL(url)))).href}\r`)
  await login.until(/Logged in to/)
  expect(await login.ended).toBe(0)
  expect(world.registrations()).toBe(1)
})

it("a login on another device", async () => {
  const login = Terminal.open(program, room, ["mcp", "login", world.url, "--device"])
  const [url] = await login.until(/https?:\/\/127\.0\.0\.1:\d+\/device\?user_code=\S+/)
  await Effect.runPromise(confirmCode(new URL(url)))
  await login.until(/Logged in to/)
  expect(await login.ended).toBe(0)
  expect(await run("token", `mcp:${world.url}`)).toMatchObject({ code: 0 })
  expect(await run("mcp", "login", world.url, "--device", "--manual")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("give only one of --browser, --device, --manual")
  })
})

it("a logout", async () => {
  expect(await run("mcp", "logout", world.url)).toMatchObject({
    code: 0,
    stderr: expect.stringContaining("Logged out")
  })
  expect(await run("token", `mcp:${world.url}`)).toMatchObject({ code: 3 })
  expect(await run("mcp", "logout", world.url, "--json")).toMatchObject({
    code: 0,
    stdout: `${JSON.stringify({ url: world.url, removed: false })}\n`
  })
})
