/** The page of the accounts: what it says, what it never shows, and how it looks in a real browser. */
import { HttpServer, HttpServerRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, TokenEvent, TokenManagers, TokenStorages } from "@latchkey/core"
import { Accounts } from "@latchkey/oauth"
import { Clock, Context, Effect, Layer, Option, Stream } from "effect"
import { createServer } from "node:http"
import { describeWith } from "../../../.ci/describeWith.js"
import { chromium } from "../../../.ci/programs.js"
import * as Activity from "../src/internal/activity.js"
import * as StatusHtml from "../src/internal/statusHtml.js"
import * as Chromium from "./support/Chromium.js"
import { handlerOf, mounted } from "./support/serving.js"

const minute = 60_000
const start = 1_700_000_000_000
const hostile = `<img src=x onerror=alert(1)>"'&\u202e`

describe("the last hour", () => {
  it("counts by the minute, and forgets what is older", () => {
    const noted = [
      [start, "refreshed"],
      [start + 1, "refreshed"],
      [start + minute, "failed"],
      [start - minute, "failed"]
    ] as const
    const activity = noted.reduce<Activity.Activity>((all, [at, what]) => Activity.note(all, at, what), [])
    const totals = (now: number) => {
      const hour = Activity.lastHour(activity, now)
      expect(hour).toHaveLength(60)
      return [
        hour.reduce((sum, { refreshed }) => sum + refreshed, 0),
        hour.reduce((sum, { failed }) => sum + failed, 0)
      ]
    }
    expect(totals(start + minute)).toEqual([2, 2])
    expect(totals(start + 60 * minute)).toEqual([0, 2])
    expect(totals(start + 61 * minute)).toEqual([0, 0])
    const long = Array.from({ length: 10_000 }, (_, i) => start + i * minute)
    expect(
      long.reduce<Activity.Activity>((all, at) => Activity.note(all, at, "failed"), []).length
    ).toBeLessThanOrEqual(60)
  })
})

describe("the words", () => {
  it.each([
    [null, "never"],
    [0, "in less than a minute"],
    [-29_000, "less than a minute ago"],
    [5 * minute, "in 5 min"],
    [-119 * minute, "119 min ago"],
    [3 * 60 * minute, "in 3 h"],
    [72 * 60 * minute, "in 3 days"]
  ])("%j is %s", (millis, expected) => {
    const iso = millis === null ? null : new Date(start + millis).toISOString()
    expect(StatusHtml.relative(iso, start)).toBe(expected)
  })

  it("no value becomes markup, or turns the text around", () => {
    const escaped = StatusHtml.escape(hostile)
    expect(escaped).toBe("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;\uFFFD")
    const html = StatusHtml.render({
      now: start,
      count: 1,
      due: 0,
      state: undefined,
      next: hostile,
      hour: Activity.lastHour([], start),
      rows: [
        {
          account: hostile,
          state: "Dead",
          nextRenewal: null,
          mustLogIn: true,
          lastError: { message: hostile },
          link: `https://app.example.com/relogin?link=${encodeURIComponent(hostile)}`
        }
      ]
    })
    expect(html).not.toContain("<img")
    expect(html).not.toContain("\u202e")
  })
})

const login = (account: string, expiresAt: number, refreshToken: string | undefined = "canary-refresh") =>
  Credentials.make({
    accessToken: "canary-access",
    refreshToken,
    expiresAt,
    accountId: account,
    idToken: "canary-id"
  })

const dead = (entry: Entry.Entry, at: number) =>
  new Entry.Entry({
    ...entry,
    dead: Option.some(
      new Entry.DeadGrant({
        fingerprint: Entry.grantFingerprint(entry.credentials),
        at,
        reason: "invalid_grant",
        rotationLost: false
      })
    )
  })

const unused = Effect.die("The page asks for no token.")

/** The page at a real server: its address, and whether requests may see it. */
const served = Effect.gen(function* () {
  const now = yield* Clock.currentTimeMillis
  const storages = yield* TokenStorages.makeMemory([
    ["ada@example.com", Entry.first(login("ada", now + 30 * minute))],
    ["grace@example.com", dead(Entry.first(login("grace", now + minute)), now)],
    [hostile, dead(Entry.first(login("mallory", now + minute)), now)],
    ...Array.from(
      { length: 120 },
      (_, i) =>
        [`user-${String(i).padStart(3, "0")}`, Entry.first(login("u", now + (i + 5) * minute))] as const
    )
  ])
  const events = [
    ...Array.from({ length: 30 }, (_, i) => ({
      account: "ada",
      event: TokenEvent.Refreshed({
        at: now - i * minute,
        took: 5,
        rotated: true,
        token: "0" as never,
        expiresAt: undefined
      })
    })).reverse(),
    {
      account: "grace",
      event: TokenEvent.RefreshFailed({ at: now, reason: "Transient" as const, status: 503 })
    }
  ]
  const pool = Layer.succeed(TokenManagers.TokenManagers, {
    events: Stream.fromIterable(events),
    status: () => Effect.succeed(new Map<string, never>()),
    accounts: Effect.succeed([]),
    unsafePeek: () => Option.none(),
    get: () => unused,
    getAccessToken: () => unused,
    renew: () => unused,
    serverOf: (account) => account
  })
  const history = yield* Layer.build(Layer.provide(Accounts.layerHistory, pool))
  yield* Effect.sleep("20 millis")
  const page = Accounts.page({
    authorize: Effect.map(
      HttpServerRequest.HttpServerRequest,
      ({ headers }) => headers["authorization"] === "Bearer operator"
    ),
    link: (account) =>
      Effect.succeed(
        account === hostile
          ? Option.some(new URL("javascript:alert(1)"))
          : Option.some(new URL("https://app.example.com/relogin?link=x"))
      )
  })
  const server = yield* Layer.build(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
  const app = yield* handlerOf(mounted(page, "/status"))
  yield* Effect.provide(
    HttpServer.serveEffect(app),
    Context.mergeAll(server, history, Context.make(TokenStorages.TokenStorages, storages))
  )
  const address = Context.get(server, HttpServer.HttpServer).address
  if (!("port" in address)) throw new Error("No port")
  return `http://127.0.0.1:${address.port}/status/`
})

describe("the page", () => {
  it.scopedLive("is shown to those who may see it, without a token or a script", () =>
    Effect.gen(function* () {
      const url = yield* served
      const get = (path = "", authorization = "Bearer operator") =>
        Effect.promise(async () => {
          const response = await fetch(`${url}${path}`, { headers: { authorization } })
          return { status: response.status, headers: response.headers, html: await response.text() }
        })
      const refused = yield* get("", "Bearer somebody")
      expect([refused.status, refused.html]).toEqual([403, expect.stringContaining("may not see this page")])
      const { headers, html, status } = yield* get()
      expect(status).toBe(200)
      expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'sha256-/)
      expect(headers.get("cache-control")).toBe("no-store")
      expect(html).not.toMatch(/canary|<script|<img|javascript:/)
      expect(html).toContain("123 stored")
      expect(html).toContain("30 refreshes and 1 failure in the last hour")
      // Whoever must log in comes first.
      expect(html.indexOf("grace@example.com")).toBeLessThan(html.indexOf("ada@example.com"))
      expect(html).toContain("The server refused the refresh token: invalid_grant. Log in again.")
      expect(html).toContain("More accounts")
      const ended = yield* get("?state=Dead")
      expect(ended.html).not.toContain("ada@example.com")
      expect((yield* get("?state=Gone")).status).toBe(400)
    })
  )
})

describeWith(chromium, "in Chromium", () => {
  it.scopedLive(
    "it fits a phone and a desktop, and needs no script",
    () =>
      Effect.gen(function* () {
        const url = yield* served
        const page = yield* Chromium.newPage(yield* Chromium.launch)
        const problems: Array<string> = []
        page.on("console", (message) => problems.push(message.text()))
        page.on("pageerror", (error) => problems.push(error.message))
        yield* Effect.promise(() => page.setExtraHTTPHeaders({ authorization: "Bearer operator" }))
        for (const width of [360, 1280]) {
          const seen = yield* Effect.promise(async () => {
            await page.setViewportSize({ width, height: 800 })
            await page.goto(url)
            const folder = process.env["SCREENSHOTS"]
            if (folder !== undefined) await page.screenshot({ path: `${folder}/status-${width}.png` })
            return {
              heading: await page.textContent("h1"),
              links: await page.locator("a.button").count(),
              first: await page.locator("tbody tr").first().textContent(),
              wide: await page.evaluate("document.documentElement.scrollWidth"),
              size: await page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize")
            }
          })
          expect(seen).toMatchObject({ heading: "Accounts", links: 1, size: "24px" })
          expect(seen.wide).toBeLessThanOrEqual(width)
        }
        yield* Effect.promise(() => page.click("nav a:has-text('Ended')"))
        expect(yield* Effect.promise(() => page.locator("tbody tr").count())).toBe(2)
        expect(problems).toEqual([])
      }),
    60_000
  )
})
