/** Logins of a web application that runs as several instances, in memory and at a real server. */
import { FetchHttpClient, type HttpClient, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  Entry,
  OneTimeStore,
  RefreshLease,
  TokenConfig,
  TokenManagers,
  TokenStorages
} from "@latchkey/core"
import { AttemptStore, AuthorizationCode, LoginKeys, RefreshToken, WebLogin } from "@latchkey/oauth"
import { Clock, type Context, Effect, Either, Encoding, Layer, Option, Redacted, TestClock } from "effect"
import { answering, type Reply } from "./Memory.js"
import * as Provider from "./Provider.js"
import { consent } from "./support/interaction.js"
import { handlerOf } from "./support/serving.js"

const start = 1_700_000_000_000
const issuer = "https://id.example.com"
const server = {
  issuer,
  authorizationEndpoint: `${issuer}/authorize`,
  tokenEndpoint: `${issuer}/token`
}
const client = { clientId: "public-client" }
const site = { origin: "https://app.example.com" }

const key = (byte: number) => Redacted.make(Encoding.encodeBase64(new Uint8Array(32).fill(byte)))

type Storages = Context.Tag.Service<TokenStorages.TokenStorages>
type Options = WebLogin.Options<never, HttpServerRequest.HttpServerRequest>
type App = (request: Request) => Effect.Effect<Response>

/** The user of a request is the one of its cookie. */
const session = Effect.map(HttpServerRequest.HttpServerRequest, ({ cookies }) =>
  Option.fromNullable(cookies["user"])
)

/** One instance of the application. */
const instance = (
  store: Layer.Layer<AttemptStore.AttemptStore, never, LoginKeys.LoginKeys>,
  storages: Storages,
  over: Partial<Options> = {},
  http: Layer.Layer<HttpClient.HttpClient> = FetchHttpClient.layer
) =>
  Effect.gen(function* () {
    const options: Options = {
      ...site,
      server,
      client,
      scopes: ["openid", "offline_access"],
      signIn: ({ account }, response) =>
        Effect.succeed(HttpServerResponse.setHeader(response, "x-signed-in", account)),
      signOut: (response) => Effect.succeed(HttpServerResponse.setHeader(response, "x-signed-out", "yes")),
      ...over
    }
    const refresher = RefreshToken.layer({ server: options.server, client: options.client })
    const pool = TokenManagers.layerShared({}).pipe(
      Layer.provide([
        Layer.succeed(TokenStorages.TokenStorages, storages),
        RefreshLease.layerProcess,
        Layer.provide(refresher, http),
        TokenConfig.layer({})
      ])
    )
    const context = yield* Layer.build(
      Layer.mergeAll(pool, http, store).pipe(Layer.provideMerge(LoginKeys.layer([key(1)])))
    )
    const routes = yield* Effect.provide(WebLogin.make(options), context)
    const handler = yield* handlerOf(routes)
    const app: App = (request) =>
      handler.pipe(
        Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request)),
        Effect.provide(context),
        Effect.map((response) => HttpServerResponse.toWeb(response)),
        Effect.scoped,
        Effect.orDie
      )
    const link = (account: string, more: Partial<WebLogin.ReloginOptions> = {}) =>
      Effect.provide(WebLogin.reloginLink(options, { account, ...more }), context)
    return { app, link }
  }).pipe(Effect.orDie)

/** Keeps cookies as a browser does, for one site. */
const makeBrowser = (origin = site.origin) => {
  const cookies = new Map<string, string>()
  const set: Array<string> = []
  const send = (app: App, path: string, init: { method?: string; headers?: Record<string, string> } = {}) =>
    Effect.map(
      app(
        new Request(new URL(path, origin), {
          method: init.method ?? "GET",
          headers: {
            cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; "),
            ...init.headers
          }
        })
      ),
      (response) => {
        for (const cookie of response.headers.getSetCookie()) {
          set.push(cookie)
          const [pair = ""] = cookie.split(";")
          const name = pair.slice(0, pair.indexOf("="))
          if (/max-age=0(;|$)/i.test(cookie)) cookies.delete(name)
          else cookies.set(name, pair.slice(name.length + 1))
        }
        return response
      }
    )
  return { cookies, set, send }
}

type Browser = ReturnType<typeof makeBrowser>

const idToken = (nonce: string, sub: string, now: number): string =>
  [
    { alg: "RS256" },
    { iss: issuer, aud: client.clientId, sub, nonce, iat: now / 1000, exp: now / 1000 + 600 }
  ]
    .map((part) => Encoding.encodeBase64Url(JSON.stringify(part)))
    .concat("c2lnbmF0dXJl")
    .join(".")

/** An authorization server at which `user.name` logs in. */
const memoryServer = () => {
  const user = { name: "alice", nonce: "" }
  let grants = 0
  const { asked, layer } = answering((): Reply => ({
    body: {
      access_token: `at-${user.name}`,
      refresh_token: `rt-${user.name}-${++grants}`,
      token_type: "Bearer",
      expires_in: 3600,
      ...(user.name !== "" && { id_token: idToken(user.nonce, user.name, start) })
    }
  }))
  /** The way back from the server, for the response that led there. */
  const back = (response: Response, more: Record<string, string> = { code: "the-code" }): string => {
    const url = new URL(response.headers.get("location")!)
    expect(url.origin).toBe(issuer)
    user.nonce = url.searchParams.get("nonce")!
    return `/callback?${new URLSearchParams({ state: url.searchParams.get("state")!, iss: issuer, ...more })}`
  }
  return { user, asked, layer, back }
}

const two = (over: Partial<Options> = {}) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const storages = yield* TokenStorages.makeMemory()
    const id = memoryServer()
    const of = () => instance(AttemptStore.layerSealed, storages, over, id.layer)
    return { ...id, storages, a: yield* of(), b: yield* of(), browser: makeBrowser() }
  })

const stored = (storages: Storages, account: string) =>
  Effect.map(
    Either.getOrThrow(storages.of(account)).load,
    Option.map(({ entry }) => entry)
  )

const text = (response: Response) => Effect.promise(() => response.text())

const isRefused = (response: Response, status: number, words: string) =>
  Effect.map(text(response), (body) => {
    expect([response.status, body]).toEqual([status, expect.stringContaining(words)])
    expect(response.headers.get("cache-control")).toBe("no-store")
  })

describe("a login", () => {
  it.scoped("begins at one instance and ends at another", () =>
    Effect.gen(function* () {
      const { a, asked, b, back, browser, storages } = yield* two()
      const begun = yield* browser.send(a.app, "/login?return=/inbox%3Fx%3D1")
      expect(begun.status).toBe(302)
      expect(browser.set[0]).toMatch(/^__Host-latchkey-login-\d+-[\w-]{12}=[\w.-]+; /)
      for (const attribute of ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=600"]) {
        expect(browser.set[0]).toContain(attribute)
      }
      expect(browser.set[0]).not.toMatch(/domain/i)
      const ended = yield* browser.send(b.app, back(begun))
      expect(ended.status).toBe(302)
      expect(ended.headers.get("location")).toBe("/inbox?x=1")
      expect(ended.headers.get("x-signed-in")).toBe("alice")
      expect(ended.headers.get("referrer-policy")).toBe("no-referrer")
      expect(browser.cookies.size).toBe(0)
      const sent = new URLSearchParams(asked[0]!.body)
      expect(sent.get("redirect_uri")).toBe("https://app.example.com/callback")
      const entry = Option.getOrThrow(yield* stored(storages, "alice"))
      expect(Redacted.value(entry.credentials.accessToken)).toBe("at-alice")
    })
  )

  it.scoped("is refused in another browser, a second time, with another state, and too late", () =>
    Effect.gen(function* () {
      const { a, asked, b, back, browser, storages } = yield* two()
      const begun = yield* browser.send(a.app, "/login")
      const way = back(begun)
      yield* isRefused(yield* makeBrowser().send(b.app, way), 400, "No login is under way in this browser")
      yield* isRefused(
        yield* browser.send(b.app, `/callback?code=c&state=${"x".repeat(43)}`),
        400,
        "No login is"
      )
      const state = new URL(way, site.origin).searchParams.get("state")!
      const longer = yield* browser.send(b.app, `/callback?code=c&state=${state}x`)
      yield* isRefused(longer, 400, "another login")
      expect(asked).toEqual([])

      const again = yield* browser.send(a.app, "/login")
      const { cookies } = browser
      const copy = new Map(cookies)
      yield* browser.send(b.app, back(again))
      yield* isRefused(yield* browser.send(b.app, back(again)), 400, "No login is under way")
      // Even with a copy of its cookie, an instance that finished it refuses it.
      copy.forEach((value, name) => cookies.set(name, value))
      yield* isRefused(yield* browser.send(b.app, back(again)), 400, "No login is under way")
      expect(asked).toHaveLength(1)

      const late = yield* browser.send(a.app, "/login")
      yield* TestClock.adjust("10 minutes")
      yield* isRefused(yield* browser.send(b.app, back(late)), 400, "not finished within 600 seconds")
      expect(asked).toHaveLength(1)
      expect(yield* storages.count).toBe(1)
    })
  )

  it.scoped("is bound to the session that began it", () =>
    Effect.gen(function* () {
      const { a, asked, b, back, browser } = yield* two()
      const bound = yield* two({ session })
      browser.cookies.set("user", "u1")
      const begun = yield* browser.send(bound.a.app, "/login")
      browser.cookies.set("user", "u2")
      yield* isRefused(yield* browser.send(bound.b.app, bound.back(begun)), 400, "begun in another session")
      expect(bound.asked).toEqual([])
      browser.cookies.set("user", "u1")
      const second = yield* browser.send(bound.a.app, "/login")
      expect((yield* browser.send(bound.b.app, bound.back(second))).status).toBe(302)
      // Without the option, only the browser counts.
      const free = yield* browser.send(a.app, "/login")
      browser.cookies.delete("user")
      expect((yield* browser.send(b.app, back(free))).status).toBe(302)
      expect(asked).toHaveLength(1)
    })
  )

  it.scoped("sends its code to no server and by no client that it was not begun at", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const storages = yield* TokenStorages.makeMemory()
      const id = memoryServer()
      const evil = answering({ body: { access_token: "at", token_type: "Bearer" } })
      const a = yield* instance(AttemptStore.layerSealed, storages, {}, id.layer)
      const others: ReadonlyArray<Partial<Options>> = [
        { server: { ...server, tokenEndpoint: "https://evil.example/token" } },
        { server: { ...server, issuer: "https://evil.example" } },
        { client: { clientId: "another" } }
      ]
      for (const over of others) {
        const browser = makeBrowser()
        const begun = yield* browser.send(a.app, "/login")
        const b = yield* instance(AttemptStore.layerSealed, storages, over, evil.layer)
        const way = id.back(begun)
        yield* isRefused(yield* browser.send(b.app, way), 500, "settings are wrong")
      }
      expect(evil.asked).toEqual([])
      // A response of another server to the right login (RFC 9207).
      const browser = makeBrowser()
      const begun = yield* browser.send(a.app, "/login")
      const way = id.back(begun, { code: "c", iss: "https://evil.example" })
      yield* isRefused(yield* browser.send(a.app, way), 400, "not from https://id.example.com")
      expect(id.asked).toEqual([])
    })
  )

  it.scoped("that the user denies ends, and shows no secret", () =>
    Effect.gen(function* () {
      const { a, b, back, browser } = yield* two()
      const begun = yield* browser.send(a.app, "/login")
      const ended = yield* browser.send(b.app, back(begun, { error: "access_denied" }))
      yield* isRefused(ended, 403, "The login was denied")
      expect(browser.cookies.size).toBe(0)
    })
  )

  it.scoped("leads to paths of the site only, and is begun by a navigation only", () =>
    Effect.gen(function* () {
      const { a, browser } = yield* two()
      for (const address of [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        ""
      ]) {
        const response = yield* browser.send(a.app, `/login?return=${encodeURIComponent(address)}`)
        yield* isRefused(response, 400, "not a path of this site")
      }
      const loaded = yield* browser.send(a.app, "/login", { headers: { "sec-fetch-mode": "no-cors" } })
      yield* isRefused(loaded, 403, "loaded in the background")
      expect(browser.cookies.size).toBe(0)
    })
  )

  it.scoped("goes on in three tabs at most", () =>
    Effect.gen(function* () {
      const { a, b, back, browser } = yield* two()
      const begun: Array<Response> = []
      for (let i = 0; i < 5; i++) {
        begun.push(yield* browser.send(a.app, `/login?return=/${i}`))
        yield* TestClock.adjust("1 second")
      }
      expect(browser.cookies.size).toBe(3)
      yield* isRefused(yield* browser.send(b.app, back(begun[1]!)), 400, "No login is under way")
      for (const i of [3, 2, 4]) {
        const ended = yield* browser.send(b.app, back(begun[i]!))
        expect(ended.headers.get("location")).toBe(`/${i}`)
      }
    })
  )

  it.scoped("of the same user ID at two servers is two accounts, if the application names them so", () =>
    Effect.gen(function* () {
      const { a, b, back, browser, storages, user } = yield* two({ account: WebLogin.accountOfServer })
      const begun = yield* browser.send(a.app, "/login")
      const ended = yield* browser.send(b.app, back(begun))
      expect(ended.headers.get("x-signed-in")).toBe(`${issuer}#alice`)
      expect(Option.isSome(yield* stored(storages, `${issuer}#alice`))).toBe(true)
      const again = yield* browser.send(a.app, "/login")
      user.name = ""
      yield* isRefused(yield* browser.send(b.app, back(again)), 500, "")
      const accountId = Option.some("alice")
      const server = { issuer: Option.none(), tokenEndpoint: Option.none(), clientId: "app" }
      const names = yield* Effect.forEach(
        [
          { ...server, issuer: Option.some("https://one.example") },
          { ...server, issuer: Option.some("https://two.example"), tokenEndpoint: Option.some("https://x/") },
          { ...server, tokenEndpoint: Option.some("https://one.example/token") }
        ],
        (party) => WebLogin.accountOfServer({ accountId }, party)
      )
      expect(names).toEqual([
        "https://one.example#alice",
        "https://two.example#alice",
        "https://one.example/token#alice"
      ])
      const nameless = WebLogin.accountOfServer({ accountId: Option.none() }, server)
      expect((yield* Effect.flip(nameless)).reason).toBe("Misconfigured")
    })
  )

  it.scoped("is stored under the account that the application chooses, and replaces no other's grant", () =>
    Effect.gen(function* () {
      const { a, b, back, browser, storages, user } = yield* two({
        account: () => Effect.succeed("tenant-1")
      })
      const through = (name: string) =>
        Effect.gen(function* () {
          const begun = yield* browser.send(a.app, "/login")
          user.name = name
          return yield* browser.send(b.app, back(begun))
        })
      expect((yield* through("alice")).headers.get("x-signed-in")).toBe("tenant-1")
      yield* isRefused(yield* through("bob"), 409, "belongs to alice, not to bob")
      const entry = Option.getOrThrow(yield* stored(storages, "tenant-1"))
      expect(Redacted.value(entry.credentials.accessToken)).toBe("at-alice")
    })
  )
})

describe("logging out", () => {
  it.scoped("needs a POST from a page of the site", () =>
    Effect.gen(function* () {
      const { a, browser } = yield* two()
      const out = yield* browser.send(a.app, "/logout", { method: "POST", headers: { origin: site.origin } })
      expect([out.status, out.headers.get("x-signed-out")]).toEqual([303, "yes"])
      const foreign: ReadonlyArray<Record<string, string>> = [
        {},
        { origin: "https://evil.example" },
        { "sec-fetch-site": "cross-site" }
      ]
      for (const headers of foreign) {
        const refused = yield* browser.send(a.app, "/logout", { method: "POST", headers })
        yield* isRefused(refused, 403, "did not come from a page of this site")
        expect(refused.headers.get("x-signed-out")).toBe(null)
      }
    })
  )
})

const markDead = (entry: Entry.Entry): Entry.Entry =>
  new Entry.Entry({
    ...entry,
    dead: Option.some(
      new Entry.DeadGrant({
        fingerprint: Entry.grantFingerprint(entry.credentials),
        at: start,
        reason: "invalid_grant",
        rotationLost: false
      })
    )
  })

const kill = (storages: Storages, account: string) =>
  Effect.gen(function* () {
    const storage = Either.getOrThrow(storages.of(account))
    const { entry, version } = Option.getOrThrow(yield* storage.load)
    yield* storage.commit(markDead(entry), Option.some(version))
  })

describe("a relogin link", () => {
  const dead = (over: Partial<Options> = {}) =>
    Effect.gen(function* () {
      const made = yield* two(over)
      const begun = yield* made.browser.send(made.a.app, "/login")
      yield* made.browser.send(made.b.app, made.back(begun))
      yield* kill(made.storages, "alice")
      return made
    })
  const open = (browser: Browser, app: App, link: URL) => browser.send(app, `${link.pathname}${link.search}`)

  it.scoped("brings a dead grant back, as the same identity", () =>
    Effect.gen(function* () {
      const { a, b, back, storages } = yield* dead()
      const link = yield* a.link("alice", { returnTo: "/inbox", loginHint: "alice@example.com" })
      expect(link.href).toMatch(/^https:\/\/app\.example\.com\/relogin\?link=[\w.-]+$/)
      expect(link.href).not.toContain("alice")
      const browser = makeBrowser()
      const begun = yield* open(browser, b.app, link)
      const url = new URL(begun.headers.get("location")!)
      expect(url.searchParams.get("login_hint")).toBe("alice@example.com")
      const ended = yield* browser.send(a.app, back(begun))
      expect([ended.headers.get("location"), ended.headers.get("x-signed-in")]).toEqual(["/inbox", "alice"])
      expect(Option.getOrThrow(yield* stored(storages, "alice")).dead).toEqual(Option.none())
    })
  )

  it.scoped("lets one login succeed, at whichever instance", () =>
    Effect.gen(function* () {
      const { a, asked, b, back, storages } = yield* dead()
      const link = yield* a.link("alice")
      const [first, second] = [makeBrowser(), makeBrowser()]
      // Opened by a scanner of mails and in two browsers: that spends nothing.
      yield* open(makeBrowser(), a.app, link)
      const [begun, slow] = [yield* open(first, b.app, link), yield* open(second, b.app, link)]
      expect((yield* first.send(a.app, back(begun))).status).toBe(302)
      const requests = asked.length
      const entry = yield* stored(storages, "alice")
      yield* isRefused(yield* second.send(b.app, back(slow)), 400, "This link was used already")
      for (const app of [a.app, b.app]) {
        yield* isRefused(yield* open(makeBrowser(), app, link), 400, "This link was used already")
      }
      expect(asked).toHaveLength(requests)
      expect(yield* stored(storages, "alice")).toEqual(entry)
    })
  )

  it.scoped("is over if the account logged in otherwise, or its grant was removed", () =>
    Effect.gen(function* () {
      const { a, b, back, browser, storages } = yield* dead()
      const link = yield* a.link("alice")
      yield* browser.send(a.app, back(yield* browser.send(b.app, "/login")))
      yield* isRefused(yield* open(browser, b.app, link), 400, "or the account has a new grant")
      const next = yield* a.link("alice")
      yield* Either.getOrThrow(storages.of("alice")).remove
      yield* isRefused(yield* open(browser, b.app, next), 400, "or the account has a new grant")
    })
  )

  it.scoped("refuses another identity, and one that is unknown, and keeps the old grant", () =>
    Effect.gen(function* () {
      const { a, b, back, storages, user } = yield* dead()
      const before = yield* stored(storages, "alice")
      for (const name of ["bob", ""]) {
        const browser = makeBrowser()
        const begun = yield* open(browser, b.app, yield* a.link("alice"))
        user.name = name
        const ended = yield* browser.send(a.app, back(begun))
        yield* isRefused(ended, 403, "Another account logged in")
        expect(ended.headers.get("x-signed-in")).toBe(null)
      }
      expect(yield* stored(storages, "alice")).toEqual(before)
      expect(yield* stored(storages, "bob")).toEqual(Option.none())
    })
  )

  it.scoped("expires, and cannot be changed or made without the keys", () =>
    Effect.gen(function* () {
      const { a, b, browser } = yield* dead()
      const link = yield* a.link("alice", { timeToLive: "1 hour" })
      const changed = new URL(link)
      changed.searchParams.set(
        "link",
        link.searchParams.get("link")!.replace(/.$/, (c) => (c === "A" ? "Q" : "A"))
      )
      yield* isRefused(yield* open(browser, b.app, changed), 400, "not a link of this site")
      yield* isRefused(yield* browser.send(b.app, "/relogin"), 400, "not a link of this site")
      yield* TestClock.adjust("1 hour")
      yield* isRefused(yield* open(browser, b.app, link), 400, "This link has expired")
    })
  )

  it.scoped("is not made for an account whose identity nobody knows", () =>
    Effect.gen(function* () {
      const { a, storages } = yield* two()
      const nameless = Entry.first(Credentials.make({ accessToken: "at", refreshToken: "rt" }))
      yield* Either.getOrThrow(storages.of("nameless")).commit(nameless, Option.none())
      for (const account of ["nobody", "nameless"]) {
        expect(yield* Effect.flip(a.link(account))).toMatchObject({
          _tag: "LoginError",
          reason: "Misconfigured"
        })
      }
      expect(yield* Effect.flip(a.link("nobody", { returnTo: "//evil.example" }))).toMatchObject({
        _tag: "OAuthConfigError",
        setting: "returnTo"
      })
    })
  )
})

describe("the settings", () => {
  it.scoped.each([
    [{ origin: "http://app.example.com" }, "origin"],
    [{ origin: "https://app.example.com/" }, "origin"],
    [{ origin: "https://app.example.com/app" }, "origin"],
    [{ authorizationParameters: { state: "mine" } }, "authorizationParameters"]
  ] as const)("%j cannot work", ([over, setting]) =>
    Effect.gen(function* () {
      const made = WebLogin.make({
        ...{ ...site, server, client, ...over },
        signIn: (_, response) => Effect.succeed(response),
        signOut: Effect.succeed
      })
      const error = yield* Effect.flip(Effect.provide(made, answering({}).layer))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting })
    })
  )
})

describe("AuthorizationCode.finish", () => {
  it.effect("ends a login with the record alone, as often as the server allows", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { asked, back, layer } = memoryServer()
      const make = Effect.provide(AuthorizationCode.make({ server, client, scopes: ["openid"] }), layer)
      const [a, b] = yield* Effect.all([make, make])
      const { login, url } = yield* a.begin("https://app.example.com/callback", {
        session: "u1",
        expectedAccount: "alice",
        timeToLive: "1 minute"
      })
      const way = back(new Response(null, { headers: { location: url.href } }))
      const response = new URL(way, site.origin).searchParams
      const credentials = yield* b.finish(login, response, { session: "u1" })
      expect(credentials.accountId).toEqual(Option.some("alice"))
      expect(credentials.scopes).toEqual(["openid"])
      expect(yield* Effect.flip(b.finish(login, response))).toMatchObject({ reason: "StateMismatch" })
      const other = new URLSearchParams({ code: "c", state: "x" })
      expect(yield* Effect.flip(b.finish(login, other, { session: "u1" }))).toMatchObject({
        reason: "StateMismatch"
      })
      yield* TestClock.adjust("1 minute")
      expect(yield* Effect.flip(b.finish(login, response, { session: "u1" }))).toMatchObject({
        reason: "TimedOut"
      })
      expect(asked).toHaveLength(1)
    })
  )
})

describe("at a real server", () => {
  const real = (store: Layer.Layer<AttemptStore.AttemptStore, never, LoginKeys.LoginKeys>, features = {}) =>
    Effect.gen(function* () {
      const id = yield* Provider.start({ features: { devInteractions: { enabled: true }, ...features } })
      const storages = yield* TokenStorages.makeMemory()
      const origin = "http://127.0.0.1"
      const of = (over: Partial<Options> = {}) =>
        instance(store, storages, { origin, server: { issuer: id.issuer }, ...over })
      return { id, storages, of, browser: makeBrowser(origin) }
    })

  /** The path at which the browser comes back. */
  const through = (response: Response, login: string) =>
    Effect.map(
      consent(new URL(response.headers.get("location")!), login),
      (end) => `${end.pathname}${end.search}`
    )

  const shared = Effect.map(OneTimeStore.makeMemory, (store) =>
    Layer.provide(AttemptStore.layerStored, Layer.succeed(OneTimeStore.OneTimeStore, store))
  )

  it.scopedLive.each<
    readonly [string, Effect.Effect<Layer.Layer<AttemptStore.AttemptStore, never, LoginKeys.LoginKeys>>]
  >([
    ["sealed in the cookie", Effect.succeed(AttemptStore.layerSealed)],
    ["in a store", shared]
  ])("%s: two instances share a login, and its grant refreshes", ([, store]) =>
    Effect.gen(function* () {
      const { browser, id, of, storages } = yield* real(yield* store)
      const [a, b] = yield* Effect.all([of(), of()])
      const begun = yield* browser.send(a.app, "/login?return=/inbox")
      const way = yield* through(begun, "alice")
      const copy = new Map(browser.cookies)
      const ended = yield* browser.send(b.app, way)
      expect([ended.status, ended.headers.get("location")]).toEqual([302, "/inbox"])
      expect(ended.headers.get("x-signed-in")).toBe("alice")
      const { credentials } = Option.getOrThrow(yield* stored(storages, "alice"))
      expect(Option.isSome(credentials.refreshToken)).toBe(true)
      // The server refuses the code a second time, even at an instance that does not know that it is spent.
      copy.forEach((value, name) => browser.cookies.set(name, value))
      expect((yield* browser.send(a.app, way)).status).toBe(400)
      expect(id.tokenRequests()).toBeLessThanOrEqual(2)
    })
  )

  it.scopedLive("a pushed request that binds its code to a key is finished by another instance", () =>
    Effect.gen(function* () {
      const features = {
        pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
        dPoP: { enabled: true }
      }
      const { browser, of, storages } = yield* real(AttemptStore.layerSealed, features)
      const [a, b] = yield* Effect.all([of({ dpop: true }), of({ dpop: true })])
      const begun = yield* browser.send(a.app, "/login")
      const ended = yield* browser.send(b.app, yield* through(begun, "alice"))
      expect(ended.headers.get("x-signed-in")).toBe("alice")
      expect(Option.getOrThrow(yield* stored(storages, "alice")).credentials.tokenType.toLowerCase()).toBe(
        "dpop"
      )
    })
  )

  it.scopedLive("a relogin link takes the same user, and nobody else", () =>
    Effect.gen(function* () {
      const { browser, of, storages } = yield* real(AttemptStore.layerSealed)
      const [a, b] = yield* Effect.all([of(), of()])
      yield* browser.send(b.app, yield* through(yield* browser.send(a.app, "/login"), "alice"))
      yield* kill(storages, "alice")
      const before = yield* stored(storages, "alice")
      const link = yield* a.link("alice", { returnTo: "/again" })
      const open = browser.send(b.app, `${link.pathname}${link.search}`)
      yield* isRefused(yield* browser.send(a.app, yield* through(yield* open, "bob")), 403, "Another account")
      expect(yield* stored(storages, "alice")).toEqual(before)
      const ended = yield* browser.send(a.app, yield* through(yield* open, "alice"))
      expect(ended.headers.get("location")).toBe("/again")
      const entry = Option.getOrThrow(yield* stored(storages, "alice"))
      expect(Option.isNone(entry.dead)).toBe(true)
      expect(Option.getOrThrow(entry.credentials.expiresAt)).toBeGreaterThan(yield* Clock.currentTimeMillis)
    })
  )
})
