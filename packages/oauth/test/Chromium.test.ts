/** The logins in a real browser, at the login and consent pages of a real server. */
import { FetchHttpClient } from "@effect/platform"
import { afterAll, beforeAll, expect, layer, vi } from "@effect/vitest"
import { Credentials } from "@latchkey/core"
import { Fibers } from "@latchkey/core/internal-api"
import { BrowserLogin, DeviceLogin, ManualLogin, RefreshToken } from "@latchkey/oauth"
import type { Clock } from "effect"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Option, Redacted } from "effect"
import type { BrowserContext, Page } from "playwright-core"
import { describeWith } from "../../../.ci/describeWith.js"
import { chromium } from "../../../.ci/programs.js"
import * as Provider from "./Provider.js"
import * as Chromium from "./support/Chromium.js"

class Browser extends Context.Tag("test/Browser")<Browser, BrowserContext>() {}

const client = {
  ...Provider.publicClient,
  grant_types: [...Provider.publicClient.grant_types, "urn:ietf:params:oauth:grant-type:device_code"]
}

class Server extends Context.Tag("test/Server")<Server, Provider.Harness>() {}

const world = Layer.mergeAll(
  Layer.scoped(Browser, Chromium.launch),
  Layer.scoped(
    Server,
    Provider.start({
      clients: [client],
      features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } }
    })
  ),
  FetchHttpClient.layer
)

const asked = Effect.map(Server, ({ issuer }) => ({
  server: { issuer },
  client: { clientId: client.client_id },
  scopes: ["openid", "offline_access", "email"],
  authorizationParameters: { prompt: "consent" }
}))

/** A login that is under way in a window of its own, up to where its user acts. */
const inBrowser = Effect.gen(function* () {
  const page = yield* Chromium.newPage(yield* Browser)
  const options = yield* asked
  const opened = yield* Deferred.make<URL>()
  const fiber = yield* Effect.forkScoped(
    BrowserLogin.login({ ...options, openUrl: (url) => Deferred.succeed(opened, url) })
  )
  const url = yield* Deferred.await(opened)
  yield* Effect.promise(() => page.goto(url.href))
  return { page, fiber, url }
})

const shown = (page: Page) =>
  Effect.promise(async () => ({
    heading: await page.textContent("h1"),
    text: await page.textContent("p"),
    scripts: await page.locator("script").count()
  }))

const refreshed = (credentials: Credentials.Credentials) =>
  Effect.gen(function* () {
    const { server, client } = yield* asked
    const refresher = yield* RefreshToken.make({ server, client })
    return yield* refresher.refresh(Option.some(credentials))
  })

describeWith(chromium, "logins in a real browser", () => {
  // The server remarks on each of its defaults when it is first used.
  beforeAll(() => void vi.spyOn(console, "info").mockReturnValue(undefined))
  afterAll(() => void vi.restoreAllMocks())

  layer(world, { timeout: "60 seconds", excludeTestServices: true })((it) => {
    it.scoped("a login is confirmed and consented to, and its grant can be refreshed", () =>
      Effect.gen(function* () {
        const { fiber, page } = yield* inBrowser
        yield* Effect.promise(() => Chromium.consent(page, "alice"))
        const credentials = yield* Fiber.join(fiber)
        yield* Effect.promise(() => page.waitForSelector("h1"))
        expect(yield* shown(page)).toEqual({
          heading: "Logged in",
          text: "The login is complete. You can close this window and go back to the program.",
          scripts: 0
        })
        expect(page.url()).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback\?/)
        expect(credentials.accountId).toEqual(Option.some("alice"))
        expect(credentials.scopes).toEqual(["openid", "offline_access", "email"])
        expect(Option.isSome(credentials.idToken)).toBe(true)
        expect(Credentials.lifetime(credentials)).toEqual(Option.some(60_000))
        const next = yield* refreshed(credentials)
        expect(Credentials.sameAccessToken(next, credentials)).toBe(false)
        expect(next.accountId).toEqual(Option.some("alice"))
      })
    )

    it.scoped("the user cancels: the page and the program say so", () =>
      Effect.gen(function* () {
        const { fiber, page } = yield* inBrowser
        yield* Effect.promise(() => page.click("text=[ Cancel ]"))
        const error = yield* Effect.flip(Fiber.join(fiber))
        yield* Effect.promise(() => page.waitForSelector("h1"))
        const { heading, text } = yield* shown(page)
        expect(heading).toBe("Login failed")
        expect(text).toContain("The login was denied (End-User aborted interaction)")
        expect(error).toMatchObject({ _tag: "LoginError", reason: "Denied", oauthError: "access_denied" })
      })
    )

    it.scoped("what comes back in the name of the server is shown as words, never as markup", () =>
      Effect.gen(function* () {
        const { fiber, page, url } = yield* inBrowser
        const words = "<img src=x onerror=alert(1)><script>alert(1)</script>"
        const back = new URL(url.searchParams.get("redirect_uri")!)
        back.search = `${new URLSearchParams({
          state: url.searchParams.get("state")!,
          iss: (yield* Server).issuer,
          error: "server_error",
          error_description: words
        })}`
        yield* Effect.promise(() => page.goto(back.href))
        expect(yield* Effect.flip(Fiber.join(fiber))).toMatchObject({ reason: "ServerError" })
        expect(yield* shown(page)).toMatchObject({
          heading: "Login failed",
          text: expect.stringContaining(words) as unknown,
          scripts: 0
        })
        expect(yield* Effect.promise(() => page.locator("img").count())).toBe(0)
      })
    )

    it.scoped("by hand: the address at which the browser ends is pasted", () =>
      Effect.gen(function* () {
        const page = yield* Chromium.newPage(yield* Browser)
        const options = yield* asked
        // Nothing listens there: the browser shows an error, and its address bar holds the answer.
        const { port } = yield* Effect.scoped(Provider.listen(() => undefined))
        const credentials = yield* ManualLogin.login({
          ...options,
          redirectUri: `http://127.0.0.1:${port}/callback`,
          ask: (url) =>
            Effect.promise(async () => {
              const answered = page.waitForRequest((request) => request.url().includes("/callback?"))
              await page.goto(url.href)
              await Chromium.consent(page, "bob").catch(() => undefined)
              return (await answered).url()
            })
        })
        expect(credentials.accountId).toEqual(Option.some("bob"))
        yield* refreshed(credentials)
      })
    )

    /** Polls are 5 s apart, which is long to sit through. */
    const hurried = (real: Clock.Clock): Clock.Clock =>
      Fibers.makeClock(
        () => real.unsafeCurrentTimeMillis(),
        (duration) => real.sleep(Duration.times(duration, 0.1)),
        () => Fibers.monotonicNanos(real)
      )

    const onDevice = (act: (page: Page) => Promise<unknown>) =>
      Effect.gen(function* () {
        const page = yield* Chromium.newPage(yield* Browser)
        const real = yield* Effect.clock
        return yield* DeviceLogin.login({
          ...(yield* asked),
          prompt: ({ userCode, verificationUri }) =>
            Effect.promise(async () => {
              await page.goto(verificationUri.href)
              await page.fill("input[name=user_code]", userCode)
              await page.click("button[type=submit]")
              await page.waitForSelector(`code:has-text("${userCode}")`)
              await act(page)
            })
        }).pipe(Effect.withClock(hurried(real)))
      })

    it.scoped("on a device: the code is entered, the login confirmed and consented to", () =>
      Effect.gen(function* () {
        const credentials = yield* onDevice(async (page) => {
          await page.click("button[autofocus]")
          await Chromium.consent(page, "carol")
          await page.waitForSelector("text=Sign-in Success")
        })
        expect(credentials.accountId).toEqual(Option.some("carol"))
        expect(Redacted.value(credentials.accessToken)).not.toBe("")
        yield* refreshed(credentials)
      })
    )

    it.scoped("on a device: the user aborts", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(onDevice((page) => page.click("button[name=abort]")))
        expect(error).toMatchObject({ _tag: "LoginError", reason: "Denied", oauthError: "access_denied" })
      })
    )
  })
})
