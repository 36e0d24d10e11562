/** `latchkey status --web` in its own process: for the browser that opens its link, and for nobody else. */
import { it as effectIt } from "@effect/vitest"
import { Credentials, Entry, type TokenStorages } from "@latchkey/core"
import { Effect, Either, Option, Redacted, Stream } from "effect"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { describeWith } from "../../../.ci/describeWith.js"
import { chromium } from "../../../.ci/programs.js"
import * as Chromium from "../../oauth/test/support/Chromium.js"
import * as AccountIndex from "../src/AccountIndex.js"
import * as StatusGate from "../src/StatusGate.js"
import * as Terminal from "./support/Terminal.js"

let program: string
let room: Terminal.Room
const running = new Set<ChildProcess>()

const text = async (message: AsyncIterable<unknown>): Promise<string> => {
  let read = ""
  for await (const part of message) read += String(part)
  return read
}

const start = (args: ReadonlyArray<string>) => {
  const child = Terminal.start(program, room, args)
  running.add(child)
  return child
}
const ended = (args: ReadonlyArray<string>) => Terminal.run(program, room, args)

const importGrant = (name: string, grant: Partial<Parameters<typeof Credentials.make>[0]>) =>
  Terminal.importGrant(room, `acme/${name}`, Credentials.make({ accessToken: "canary-access", ...grant }))

const writeProvider = (id: string) => {
  const acme = { server: { tokenEndpoint: "http://127.0.0.1:1/token" }, client: { id } }
  const file = join(room.folder, "config", "latchkey", "providers.json")
  writeFileSync(file, JSON.stringify({ providers: { acme } }), { mode: 0o600 })
}

beforeAll(async () => {
  program = await Terminal.bundle()
  room = Terminal.room()
  const config = join(room.folder, "config", "latchkey")
  mkdirSync(config, { recursive: true })
  writeProvider("acme")
  await importGrant("alive", { refreshToken: "canary-refresh", expiresAt: 4_102_444_800_000 })
  await importGrant("over", { expiresAt: 1_700_000_000_000 })
}, 60_000)
afterEach(async () => {
  for (const child of running) {
    await Terminal.stop(child)
    running.delete(child)
  }
})
afterAll(() => room.remove())

/** Starts the page. Returns its link, and what it has written since. */
const open = async (args: ReadonlyArray<string> = []) => {
  const child = start(["status", "--web", "--json", ...args])
  let written = ""
  child.stderr.on("data", (part) => (written += String(part)))
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string]
  return { child, link: new URL((JSON.parse(line) as { readonly url: string }).url), written: () => written }
}

interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

const ask = (url: URL | string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> =>
  new Promise((resolve, reject) => {
    Http.request(
      url,
      { headers, method, agent: false },
      (response) =>
        void text(response).then(
          (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
          reject
        )
    )
      .once("error", reject)
      .end()
  })

const cookieOf = ({ headers }: Answer) => headers["set-cookie"]?.[0]?.split(";")[0] ?? ""

describe("the page", () => {
  it("is shown to the browser that opened the link, without a token", async () => {
    const { child, link, written } = await open()
    expect(link.hostname).toBe("127.0.0.1")
    const opened = await ask(link)
    expect([opened.status, opened.headers.location]).toEqual([303, link.pathname])
    expect(opened.headers["set-cookie"]).toEqual([
      expect.stringMatching(
        new RegExp(`^latchkey_status=[\\w-]{43}; Path=${link.pathname}; HttpOnly; SameSite=Lax$`)
      )
    ])
    expect(opened.headers).toMatchObject({ "cache-control": "no-store", "referrer-policy": "no-referrer" })
    const address = new URL(link.pathname, link)
    const { body, headers, status } = await ask(address, { cookie: cookieOf(opened) })
    expect(status).toBe(200)
    expect(headers["content-security-policy"]).toMatch(/^default-src 'none'; style-src 'sha256-/)
    expect(body).toContain("2 stored")
    expect(body).toContain("acme/alive")
    expect(body).toContain("acme/over")
    expect(body).toContain("latchkey login acme --account over")
    expect(body).not.toMatch(/canary|<svg/)
    const filtered = await ask(`${address.href}?state=Fixed`, { cookie: cookieOf(opened) })
    expect(filtered.body).not.toContain("acme/alive")
    // The ticket is neither in the page nor in what the command wrote after it.
    expect(body + written()).not.toContain(link.searchParams.get("ticket"))
    expect(existsSync(join(room.folder, "opened"))).toBe(false)
    child.kill("SIGINT")
    expect(await once(child, "exit")).toEqual([130, null])
    await expect(ask(address)).rejects.toThrow("ECONNREFUSED")
  })

  it("shows one account if it is named, and says so if there is none", async () => {
    const { link } = await open(["acme/alive"])
    const cookie = cookieOf(await ask(link))
    const { body } = await ask(new URL(link.pathname, link), { cookie })
    expect(body).toContain("1 stored")
    expect(body).not.toContain("acme/over")
    expect(await ended(["status", "acme/never", "--web"])).toMatchObject({ code: 2, stdout: "" })
    expect(await ended(["status", "--web", "--watch"])).toMatchObject({ code: 2, stdout: "" })
  })

  it("reads the accounts anew, and says why a grant is not used", async () => {
    await importGrant("later", {})
    const { link } = await open()
    const cookie = cookieOf(await ask(link))
    const look = () => ask(new URL(link.pathname, link), { cookie })
    expect((await look()).body).toContain("3 stored")
    expect(await ended(["logout", "acme/later", "--local"])).toMatchObject({ code: 0 })
    expect((await look()).body).toContain("2 stored")
    writeProvider("another")
    expect((await look()).body).toContain("was obtained by the client acme")
    writeProvider("acme")
  })

  it("changes nothing", async () => {
    const before = await ended(["status", "--json"])
    const { link } = await open()
    const cookie = cookieOf(await ask(link))
    expect((await ask(new URL(link.pathname, link), { cookie }, "POST")).status).toBe(405)
    await ask(new URL(link.pathname, link), { cookie })
    const without = ({ stdout }: { readonly stdout: string }) =>
      stdout.replace(/"expiresInSeconds": ?-?\d+/g, "")
    expect(without(await ended(["status", "--json"]))).toBe(without(before))
  })

  it("tells people what to do with the link", async () => {
    const child = start(["status", "--web"])
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string]
    expect(line).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{43}\/\?ticket=[\w-]{43}$/)
    child.kill("SIGTERM")
    expect(await text(child.stderr!)).toContain("Open this link in a browser")
  })
})

describe("somebody else", () => {
  it("sees nothing without the link, and nothing once it was opened", async () => {
    const { link } = await open()
    const address = new URL(link.pathname, link)
    const wrong = new URL(link)
    wrong.searchParams.set("ticket", "x".repeat(43))
    expect(await ask(address)).toMatchObject({ status: 401 })
    expect(await ask(wrong)).toMatchObject({ status: 401 })
    expect(await ask(new URL(`/?${link.searchParams}`, link))).toMatchObject({ status: 404 })
    // None of these has used the link up.
    const cookie = cookieOf(await ask(link))
    const again = await ask(link)
    expect(again.status).toBe(401)
    expect(again.headers).not.toHaveProperty("set-cookie")
    expect(again.body).not.toContain("acme")
    // The browser that has the cookie may open it from its history.
    expect(await ask(link, { cookie })).toMatchObject({ status: 303 })
    expect(await ask(address, { cookie: "latchkey_status=x" })).toMatchObject({ status: 401 })
  })

  it.each([
    ["DNS rebinding", { host: "evil.example" }],
    ["another port", { host: "127.0.0.1:1" }],
    ["a script of another origin", { origin: "https://evil.example" }],
    ["a script of an opaque origin", { origin: "null" }],
    ["an image", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image" }],
    ["a frame", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe" }],
    ["a prefetch", { "sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-purpose": "prefetch" }]
  ])("gets nothing by %s, and does not use the link up", async (_, headers) => {
    const { link } = await open()
    expect(await ask(link, headers as never)).toMatchObject({ status: 403 })
    const cookie = cookieOf(await ask(link))
    expect(await ask(new URL(link.pathname, link), { cookie, ...headers } as never)).toMatchObject({
      status: 403
    })
  })
})

describe("the decision", () => {
  const keys = { path: "p", ticket: Redacted.make("ticket"), session: Redacted.make("session") }
  const asked = { method: "GET", url: "/p/", headers: { host: "h:1" }, cookies: {}, isUsed: false }
  const decide = (change: Partial<StatusGate.Asked>) =>
    StatusGate.decide(["h:1"], keys, { ...asked, ...change })
  const cookies = { latchkey_status: "session" }
  it.each([
    [{ url: "/p/?ticket=ticket" }, "SignIn"],
    [{ url: "/p/?ticket=ticket", isUsed: true }, "Refused"],
    [{ url: "/p/?ticket=" }, "Refused"],
    [{ url: "/p/?ticket=session" }, "Refused"],
    [{ cookies }, "Page"],
    [{ cookies: { latchkey_status: "ticket" } }, "Refused"],
    [{ cookies, url: "/p" }, "Refused"],
    [{ cookies, url: "http://h:1/p/" }, "Refused"],
    [{ cookies, headers: {} }, "Refused"],
    [{ cookies, headers: { host: "H:1" } }, "Page"]
  ] as const)("for %j is %s", (change, expected) => {
    expect(decide(change)._tag).toBe(expected)
  })
})

describe("the index", () => {
  const known = (account: string): AccountIndex.Known => ({
    account,
    found: Either.right(Entry.first(Credentials.make({ accessToken: "canary", refreshToken: "canary" })))
  })
  effectIt.effect("is read in pages by name, and never written", () =>
    Effect.gen(function* () {
      const problem = { message: "It is locked.", needsLogin: true }
      const index: Effect.Effect.Success<typeof TokenStorages.TokenStorages> = AccountIndex.make([
        known("c"),
        known("a"),
        { account: "b", found: Either.left(problem) }
      ])
      const names = (after?: string) =>
        Effect.map(Stream.runCollect(index.accounts(after)), (all) => [...all])
      expect((yield* names()).map(({ account, state }) => [account, state])).toEqual([
        ["a", "Renewable"],
        ["b", "Dead"],
        ["c", "Renewable"]
      ])
      expect((yield* names("b")).map(({ account }) => account)).toEqual(["c"])
      const storage = yield* index.of("a")
      const found = yield* storage.load
      const { entry } = Option.getOrThrow(found)
      expect((yield* Effect.flip(storage.commit(entry, Option.none())))._tag).toBe("StorageError")
      expect((yield* Effect.flip(storage.remove)).reason).toBe("Denied")
      expect(yield* Effect.flip((yield* index.of("b")).load)).toMatchObject({ message: "It is locked." })
      expect(Either.isLeft(index.of("d"))).toBe(true)
    })
  )
})

describeWith(chromium, "in Chromium", () => {
  effectIt.scopedLive(
    "the link leads to the page, and another server of the machine gets no cookie of it",
    () =>
      Effect.gen(function* () {
        const { link } = yield* Effect.promise(() => open())
        const seen: Array<string> = []
        const other = Http.createServer((request, response) => {
          seen.push(JSON.stringify(request.headers))
          const target = new URL(link.pathname, link).href
          response
            .writeHead(200, { "content-type": "text/html" })
            .end(
              `<iframe src="${target}"></iframe><script>fetch("${target}", { credentials: "include" }).then(() => document.title = "in", () => document.title = "out")</script>`
            )
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
        yield* Effect.promise(() => new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve)))
        const { port } = other.address() as AddressInfo
        const page = yield* Chromium.newPage(yield* Chromium.launch)
        yield* Effect.promise(async () => {
          await page.goto(link.href)
          expect(page.url()).toBe(new URL(link.pathname, link).href)
          expect(await page.textContent("h1")).toBe("Accounts")
          await page.click("nav a:has-text('Fixed')")
          expect(await page.locator("tbody tr").count()).toBe(1)
          await page.goto(`http://127.0.0.1:${port}/`)
          await page.waitForFunction("document.title !== ''")
          expect(await page.title()).toBe("out")
          for (const frame of page.frames().slice(1)) {
            expect(await frame.content().catch(() => "")).not.toContain("acme/alive")
          }
          expect(seen.length).toBeGreaterThan(0)
          expect(seen.join()).not.toMatch(/latchkey_status|ticket/)
        })
      }),
    60_000
  )
})
