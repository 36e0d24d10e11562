import { HttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import type { Credentials } from "@latchkey/core"
import { BrowserLogin, type LoginError, type LoginEvent } from "@latchkey/oauth"
import { Deferred, Effect, Either, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import * as Http from "node:http"
import * as Loopback from "../src/internal/loopback.js"
import { answering, type Reply } from "./Memory.js"
import * as Provider from "./Provider.js"

const granted: Reply = { body: { access_token: "at-1", refresh_token: "rt-1", token_type: "bearer" } }

const options = {
  server: {
    issuer: "https://example.com",
    authorizationEndpoint: "https://example.com/authorize",
    tokenEndpoint: "https://example.com/token"
  },
  client: { clientId: "the-client" }
}

type Failure = LoginError.LoginError | { readonly _tag: "OAuthConfigError" | "Opener" }

interface Started {
  readonly url: URL
  /** The redirect URI with these parameters and the right state, unless another is given. */
  readonly callback: (fields: Record<string, string>) => URL
  readonly fiber: Fiber.RuntimeFiber<Credentials.Credentials, Failure>
}

/** A login under way, up to where its browser is to open. */
const begin = (
  over: Partial<BrowserLogin.Options<Failure>> = {},
  http: Layer.Layer<HttpClient.HttpClient> = answering(granted).layer
): Effect.Effect<Started, never, Scope.Scope> =>
  Effect.gen(function* () {
    const opened = yield* Deferred.make<URL>()
    const login = BrowserLogin.login({
      ...options,
      openUrl: (url) => Deferred.succeed(opened, url),
      ...over
    })
    const fiber = yield* Effect.forkScoped(Effect.provide(login, http))
    const url = yield* Deferred.await(opened)
    const callback: Started["callback"] = (fields) => {
      const target = new URL(url.searchParams.get("redirect_uri")!)
      target.search = `${new URLSearchParams({ state: url.searchParams.get("state")!, ...fields })}`
      return target
    }
    return { url, callback, fiber }
  })

/** Whether there is a second localhost here. */
const hasIPv6 = Effect.async<boolean>((resume) => {
  const server = Http.createServer()
  server.once("error", () => resume(Effect.succeed(false)))
  server.listen({ host: "::1", port: 0 }, () => server.close(() => resume(Effect.succeed(true))))
})

interface Got {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly text: string
}

/** A request as a browser sends it, or with other headers. */
const get = (url: URL, init: Http.RequestOptions = {}): Effect.Effect<Got, Error> =>
  Effect.async((resume) => {
    const request = Http.request(url, { agent: false, ...init }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () =>
        resume(
          Effect.succeed({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString()
          })
        )
      )
    })
    request.on("error", (error) => resume(Effect.fail(error)))
    request.end()
  })

const isClosed = (url: URL) =>
  Effect.map(Effect.flip(get(url)), (error) => {
    expect(error).toMatchObject({ code: "ECONNREFUSED" })
  })

const failureOf = (started: Started) => Effect.flip(Fiber.join(started.fiber))

/** A server whose token endpoint never answers. */
const stalled = Layer.effect(HttpClient.HttpClient, Effect.succeed(HttpClient.make(() => Effect.never)))

describe("a login", () => {
  it.scopedLive("comes back to a free port of a loopback literal, says so to the user, and closes", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering(granted)
      const started = yield* begin({}, layer)
      const redirectUri = started.url.searchParams.get("redirect_uri")!
      expect(redirectUri).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/)
      const page = yield* get(started.callback({ code: "c", iss: options.server.issuer }))
      expect(page.status).toBe(200)
      expect(page.text).toContain("<h1>Logged in</h1>")
      expect(page.headers).toMatchObject({
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        connection: "close"
      })
      expect(page.headers["content-security-policy"]).toContain("default-src 'none'")
      expect(Redacted.value((yield* Fiber.join(started.fiber)).accessToken)).toBe("at-1")
      expect(new URLSearchParams(asked[0]!.body).get("redirect_uri")).toBe(redirectUri)
      yield* isClosed(started.callback({ code: "c" }))
    })
  )

  it.scopedLive("is not disturbed by other requests", () =>
    Effect.gen(function* () {
      const started = yield* begin()
      const good = started.callback({ code: "c" })
      const other = (change: (url: URL) => void) => {
        const url = new URL(good)
        change(url)
        return url
      }
      const status = (url: URL, init?: Http.RequestOptions) => Effect.map(get(url, init), (got) => got.status)
      expect(yield* status(other((url) => (url.pathname = "/favicon.ico")))).toBe(404)
      expect(yield* status(other((url) => (url.pathname = "/callback/")))).toBe(404)
      expect(yield* status(other((url) => (url.pathname = "/Callback")))).toBe(404)
      expect(yield* status(other((url) => (url.pathname = "//callback")))).toBe(404)
      expect(yield* status(good, { path: `http://${good.host}/callback${good.search}` })).toBe(404)
      expect(yield* status(good, { headers: { host: "evil.example" } })).toBe(404)
      expect(yield* status(good, { headers: { host: `localhost:${good.port}` } })).toBe(404)
      expect(yield* status(good, { method: "POST" })).toBe(405)
      expect(yield* status(good, { method: "HEAD" })).toBe(405)
      expect(yield* status(good, { headers: { "sec-fetch-mode": "no-cors" } })).toBe(400)
      expect(yield* status(other((url) => (url.search = "")))).toBe(400)
      expect(yield* status(other((url) => (url.search = "?q=1")))).toBe(400)
      expect(yield* status(good, { headers: { "sec-fetch-mode": "navigate" } })).toBe(200)
      yield* Fiber.join(started.fiber)
    })
  )

  it.scopedLive("goes where it is registered: one port, every address of localhost", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(Provider.listen(() => undefined))
      const redirectUri = `http://localhost:${port}/auth/callback`
      const started = yield* begin({ redirectUri })
      expect(started.url.searchParams.get("redirect_uri")).toBe(redirectUri)
      const callback = started.callback({ code: "c" })
      const at = (address: string, path: string) =>
        Effect.map(
          get(callback, { host: address, path, headers: { host: callback.host } }),
          (got) => got.status
        )
      if (yield* hasIPv6) expect(yield* at("::1", "/callback")).toBe(404)
      expect(yield* at("127.0.0.1", `/auth/callback${callback.search}`)).toBe(200)
      yield* Fiber.join(started.fiber)
    })
  )

  it.scopedLive("port 80 is a port: any free one is taken only where none is given", () =>
    Effect.gen(function* () {
      const port = (uri: string) => Effect.map(Loopback.parse(uri), (redirect) => redirect.port)
      expect(yield* port("http://127.0.0.1:80/callback")).toBe(80)
      expect(yield* port("http://localhost:080")).toBe(80)
      for (const none of ["http://127.0.0.1/a:80/", "http://127.0.0.1:/:80", "http://[::1]/callback"]) {
        expect(yield* port(none)).toBe(0)
      }
      const redirect = yield* Loopback.parse("http://127.0.0.1:80/callback")
      const listener = yield* Effect.either(Loopback.listen(redirect, () => true))
      // Few may listen there.
      if (Either.isLeft(listener)) return expect(listener.left.message).toContain("loopback port 80 ")
      const { redirectUri } = listener.right
      expect(redirectUri).toBe("http://127.0.0.1:80/callback")
      const waiting = yield* Effect.fork(get(new URL(`${redirectUri}?code=c`)))
      expect((yield* listener.right.answer).get("code")).toBe("c")
      yield* Fiber.interrupt(waiting)
    })
  )

  it.scopedLive("twenty at a time do not meet", () =>
    Effect.gen(function* () {
      const all = yield* Effect.forEach(Array.from({ length: 20 }), () => begin())
      expect(new Set(all.map(({ callback }) => callback({}).port)).size).toBe(20)
      yield* Effect.forEach(all, ({ callback }) => get(callback({ code: "c" })), { concurrency: "unbounded" })
      yield* Effect.forEach(all, ({ fiber }) => Fiber.join(fiber))
    })
  )

  it.scopedLive("leaves no browser waiting, even where nobody took its answer", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const listener = yield* Scope.extend(
        Effect.flatMap(Loopback.parse("http://127.0.0.1/callback"), (redirect) =>
          Loopback.listen(redirect, () => true)
        ),
        scope
      )
      const waiting = yield* Effect.fork(get(new URL(`${listener.redirectUri}?code=c`)))
      expect((yield* listener.answer).get("code")).toBe("c")
      yield* Scope.close(scope, Exit.void)
      expect((yield* Fiber.join(waiting)).text).toContain("stopped waiting")
    })
  )

  it.scopedLive("has one answer: another one that comes meanwhile is told so", () =>
    Effect.gen(function* () {
      const started = yield* begin({}, stalled)
      const both = yield* Effect.forEach([1, 2], () => Effect.fork(get(started.callback({ code: "c" }))))
      const told = yield* Fiber.join(both[0]!).pipe(Effect.race(Fiber.join(both[1]!)))
      expect(told).toMatchObject({
        status: 410,
        text: expect.stringContaining("already has its answer") as unknown
      })
      yield* Fiber.interrupt(started.fiber)
      const texts = yield* Effect.forEach(both, (fiber) => Effect.map(Fiber.join(fiber), (got) => got.text))
      expect(texts.filter((text) => text.includes("stopped waiting"))).toHaveLength(1)
    })
  )
})

describe("a request that is not the answer of this login (F58)", () => {
  it.scopedLive("gets an error page, is counted, and the login goes on", () =>
    Effect.gen(function* () {
      const events: Array<LoginEvent.LoginEvent> = []
      const { asked, layer } = answering(granted)
      const started = yield* begin({ onEvent: (event) => Effect.sync(() => void events.push(event)) }, layer)
      const { searchParams, origin, pathname } = started.callback({ code: "evil-code" })
      const state = searchParams.get("state")!
      const stray: ReadonlyArray<string> = [
        "code=evil-code",
        "code=evil-code&state=",
        "code=evil-code&state=x",
        `code=evil-code&state=${state}x`,
        `code=evil-code&state=${state.slice(1)}`,
        `code=evil-code&state=${state.toUpperCase()}`,
        `code=evil-code&state=${state}&state=${state}`,
        `code=evil-code&state=x&state=${state}`,
        `code=evil-code&STATE=${state}`,
        "error=access_denied",
        "error=access_denied&state=x",
        "error=server_error&error_description=<script>alert(1)</script>&state=x",
        "state=x",
        `code=evil-code&state=x&iss=${encodeURIComponent(options.server.issuer)}`,
        "code=evil-code&state=x&iss=https://evil.example",
        `code=${"x".repeat(8000)}&state=x`
      ]
      for (const query of stray) {
        const page = yield* get(new URL(`${origin}${pathname}?${query}`))
        expect([query, page.status]).toEqual([query, 400])
        expect(page.text).toContain("<h1>Not this login</h1>")
        expect(page.text).not.toMatch(/evil-code|<script/)
      }
      expect(asked).toEqual([])
      expect(events.map((event) => event._tag === "StrayAnswer" && event.count)).toEqual([1, 2, 4, 8, 16])
      expect(JSON.stringify(events)).not.toMatch(/evil-code|alert/)
      const page = yield* get(started.callback({ code: "c" }))
      expect(page.text).toContain("<h1>Logged in</h1>")
      yield* Fiber.join(started.fiber)
      expect(asked.map(({ body }) => new URLSearchParams(body).get("code"))).toEqual(["c"])
    })
  )

  it.scopedLive("by the hundred is no flood of events, and the browser still gets through", () =>
    Effect.gen(function* () {
      const events: Array<LoginEvent.LoginEvent> = []
      const started = yield* begin({ onEvent: (event) => Effect.sync(() => void events.push(event)) })
      yield* Effect.forEach(
        Array.from({ length: 300 }),
        () => get(started.callback({ code: "c", state: "x" })),
        { concurrency: 20 }
      )
      expect(events.length).toBeLessThanOrEqual(9)
      expect((yield* get(started.callback({ code: "c" }))).status).toBe(200)
      yield* Fiber.join(started.fiber)
    })
  )

  it.scopedLive("while the code is redeemed changes nothing either", () =>
    Effect.gen(function* () {
      const redeeming = yield* Deferred.make<void>()
      const client = HttpClient.make(() =>
        Effect.andThen(Deferred.succeed(redeeming, undefined), Effect.never)
      )
      const started = yield* begin({}, Layer.succeed(HttpClient.HttpClient, client))
      const answered = yield* Effect.fork(get(started.callback({ code: "c" })))
      yield* Deferred.await(redeeming)
      expect((yield* get(started.callback({ code: "d", state: "x" }))).status).toBe(400)
      expect((yield* get(started.callback({ code: "d" }))).status).toBe(410)
      yield* Fiber.interrupt(started.fiber)
      expect((yield* Fiber.join(answered)).text).toContain("stopped waiting")
    })
  )

  it.scopedLive("is named where nobody finishes the login in time", () =>
    Effect.gen(function* () {
      const started = yield* begin({ patience: "2 seconds", onEvent: () => Effect.void })
      yield* get(started.callback({ code: "c", state: "x" }))
      const error = yield* failureOf(started)
      expect(error).toMatchObject({ _tag: "LoginError", reason: "TimedOut" })
      expect(error).toHaveProperty("message", expect.stringContaining("other logins that were ignored: 1."))
    })
  )

  it.scopedLive("is not an answer with the right state: an error, or another issuer, ends the login", () =>
    Effect.gen(function* () {
      const denied = yield* begin({ onEvent: () => Effect.void })
      yield* get(denied.callback({ code: "c", state: "x" }))
      yield* get(denied.callback({ error: "access_denied" }))
      expect(yield* failureOf(denied)).toMatchObject({ reason: "Denied" })
      // RFC 9207 §2.4: a mix-up. It has the state of this login, so the code must go nowhere.
      const { asked, layer } = answering(granted)
      const mixed = yield* begin({}, layer)
      yield* get(mixed.callback({ code: "c", iss: "https://evil.example" }))
      expect(yield* failureOf(mixed)).toMatchObject({ reason: "IssuerMismatch" })
      expect(asked).toEqual([])
    })
  )
})

describe("the answer of this login, loaded in the background", () => {
  const modes = ["cors", "no-cors", "same-origin", "websocket", ""]

  it.scopedLive("ends no login, says why, and is reported; opened in a tab it does", () =>
    Effect.gen(function* () {
      const events: Array<LoginEvent.LoginEvent> = []
      const { asked, layer } = answering(granted)
      const started = yield* begin({ onEvent: (event) => Effect.sync(() => void events.push(event)) }, layer)
      const good = started.callback({ code: "canary-code" })
      for (const mode of modes) {
        const page = yield* get(good, { headers: { "sec-fetch-mode": mode } })
        expect([mode, page.status]).toEqual([mode, 400])
        expect(page.text).toContain("<h1>Not opened in a tab</h1>")
        expect(page.text).not.toContain("canary-code")
      }
      // With no or another state it is of no login of ours: neither counted nor reported.
      for (const state of ["x", ""]) {
        const page = yield* get(started.callback({ code: "c", state }), {
          headers: { "sec-fetch-mode": "cors" }
        })
        expect(page).toMatchObject({ status: 400, text: expect.stringContaining("Waiting for a login") })
      }
      expect(asked).toEqual([])
      expect(events.map((event) => event._tag === "FetchedAnswer" && event.count)).toEqual([1, 2, 4])
      expect(JSON.stringify(events)).not.toContain("canary-code")
      expect((yield* get(good, { headers: { "sec-fetch-mode": "navigate" } })).status).toBe(200)
      yield* Fiber.join(started.fiber)
    })
  )

  it.scopedLive("is no matter where the browser does not say how it loads", () =>
    Effect.gen(function* () {
      const started = yield* begin()
      const good = started.callback({ code: "c" })
      // A proxy may leave out one header of several.
      expect((yield* get(good, { headers: { "sec-fetch-site": "cross-site" } })).status).toBe(200)
      yield* Fiber.join(started.fiber)
    })
  )

  it.scopedLive("is named where nobody finishes the login in time", () =>
    Effect.gen(function* () {
      const started = yield* begin({ patience: "2 seconds", onEvent: () => Effect.void })
      yield* get(started.callback({ code: "c" }), { headers: { "sec-fetch-mode": "cors" } })
      const error = yield* failureOf(started)
      expect(error).toMatchObject({ _tag: "LoginError", reason: "TimedOut" })
      expect(error).toHaveProperty(
        "message",
        expect.stringMatching(/Answers to this login that were ignored because .* in the background: 1\./)
      )
    })
  )
})

describe("a login that fails", () => {
  const fails = (
    name: string,
    fields: Record<string, string>,
    reason: LoginError.LoginError["reason"],
    words: string,
    reply: Reply = granted
  ) =>
    it.scopedLive(`${name}: the user is told, the program gets a typed error, and the port is closed`, () =>
      Effect.gen(function* () {
        const started = yield* begin({}, answering(reply).layer)
        const page = yield* get(started.callback(fields))
        expect(page.status).toBe(400)
        expect(page.text).toContain("<h1>Login failed</h1>")
        expect(page.text).toContain(words)
        expect(page.text).not.toMatch(/secret-code|<script|<b>/)
        expect(page.headers["content-security-policy"]).toContain("default-src 'none'")
        const error = yield* failureOf(started)
        expect(error).toMatchObject({ _tag: "LoginError", reason })
        yield* isClosed(started.callback({ code: "c" }))
      })
    )

  fails("denied", { error: "access_denied" }, "Denied", "The login was denied")
  fails(
    "another issuer",
    { code: "secret-code", iss: "https://evil.example" },
    "IssuerMismatch",
    "evil.example"
  )
  fails("no code", {}, "Malformed", "has a code that is missing")
  fails(
    "a server whose words are markup",
    { error: "server_error", error_description: "<script>alert(1)</script><b>'\"&" },
    "ServerError",
    "&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;&#39;&quot;&amp;"
  )
  fails("a code that is refused", { code: "secret-code" }, "Expired", "invalid_grant (no &lt;b&gt;)", {
    status: 400,
    body: { error: "invalid_grant", error_description: "no <b>" }
  })
  fails("an answer that is no token response", { code: "secret-code" }, "Malformed", "is not JSON", {
    body: "<script>"
  })

  it.scopedLive("nobody finishes it in time", () =>
    Effect.gen(function* () {
      const started = yield* begin({ patience: "50 millis" })
      const error = yield* failureOf(started)
      expect(error).toMatchObject({ _tag: "LoginError", reason: "TimedOut" })
      expect(error).toHaveProperty("message", expect.stringContaining("50ms"))
      yield* isClosed(started.callback({ code: "c" }))
    })
  )

  it.scopedLive("the server does not answer in time: the browser is not left waiting", () =>
    Effect.gen(function* () {
      const started = yield* begin({ patience: "200 millis" }, stalled)
      expect((yield* get(started.callback({ code: "c" }))).text).toContain("stopped waiting")
      expect(yield* failureOf(started)).toMatchObject({ reason: "TimedOut" })
      yield* isClosed(started.callback({ code: "c" }))
    })
  )

  it.scopedLive("it is interrupted while it waits", () =>
    Effect.gen(function* () {
      const started = yield* begin()
      expect(Exit.isInterrupted(yield* Fiber.interrupt(started.fiber))).toBe(true)
      yield* isClosed(started.callback({ code: "c" }))
    })
  )

  it.scopedLive("the browser cannot be opened", () =>
    Effect.gen(function* () {
      let callback = new URL("http://127.0.0.1")
      const login = BrowserLogin.login({
        ...options,
        openUrl: (url) => {
          callback = new URL(url.searchParams.get("redirect_uri")!)
          return Effect.fail({ _tag: "Opener" } as const)
        }
      })
      const error = yield* Effect.flip(Effect.provide(login, answering(granted).layer))
      expect(error).toEqual({ _tag: "Opener" })
      yield* isClosed(callback)
    })
  )

  it.scopedLive("the opener does not come back: that holds nobody up", () =>
    Effect.gen(function* () {
      const opened = yield* Deferred.make<URL>()
      const login = BrowserLogin.login({
        ...options,
        openUrl: (url) => Effect.andThen(Deferred.succeed(opened, url), Effect.never)
      })
      const fiber = yield* Effect.forkScoped(Effect.provide(login, answering(granted).layer))
      const { searchParams } = yield* Deferred.await(opened)
      const callback = new URL(searchParams.get("redirect_uri")!)
      callback.search = `${new URLSearchParams({ state: searchParams.get("state")!, code: "c" })}`
      expect((yield* get(callback)).status).toBe(200)
      expect(Redacted.value((yield* Fiber.join(fiber)).accessToken)).toBe("at-1")
    })
  )

  it.scopedLive("the port is taken: nothing is opened, and the way by hand is named", () =>
    Effect.gen(function* () {
      const { port } = yield* Provider.listen((_, response) => response.end())
      for (const host of ["127.0.0.1", "localhost"]) {
        const login = BrowserLogin.login({
          ...options,
          redirectUri: `http://${host}:${port}/callback`,
          openUrl: () => Effect.dieMessage("It was opened.")
        })
        const error = yield* Effect.flip(Effect.provide(login, answering(granted).layer))
        expect(error).toMatchObject({ _tag: "LoginError", reason: "PortBusy" })
        expect(error.message).toContain(`${port}`)
        expect(error.message).toContain("EADDRINUSE")
        expect(error.message).toContain("ManualLogin")
      }
    })
  )

  it.effect.each([
    "https://127.0.0.1/callback",
    "http://example.com/callback",
    "http://127.0.0.1.example.com/callback",
    "http://192.168.0.1/callback",
    "http://user@127.0.0.1/callback",
    "http://127.0.0.1/callback?a=b",
    "http://127.0.0.1/callback#a",
    "http://127.0.0.1/callback#",
    "app:/callback",
    "callback"
  ])("%s is no loopback address to come back to", (redirectUri) =>
    Effect.gen(function* () {
      const login = BrowserLogin.login({ ...options, redirectUri, openUrl: () => Effect.void })
      const error = yield* Effect.flip(Effect.provide(login, answering(granted).layer))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "redirectUri" })
    })
  )

  it.effect.each([-1, 0, Number.NaN, "soon" as "1 second"])("%s is no time to wait", (patience) =>
    Effect.gen(function* () {
      const login = BrowserLogin.login({
        ...options,
        patience,
        openUrl: () => Effect.dieMessage("It was opened.")
      })
      const error = yield* Effect.flip(Effect.provide(login, answering(granted).layer))
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting: "patience" })
    })
  )
})
