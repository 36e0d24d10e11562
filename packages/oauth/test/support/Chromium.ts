/** A real browser for the tests of the logins: Debian's Chromium, headless, with its own profile. */
import { Effect, type Scope } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type BrowserContext, chromium, type Page } from "playwright-core"
import { chromium as chromiumProgram } from "../../../../.ci/programs.js"

/** How long a step in the browser may take, in milliseconds. */
const patience = 20_000

/** A browser that reaches this machine and no other; closed with the scope. */
export const launch: Effect.Effect<BrowserContext, never, Scope.Scope> = Effect.gen(function* () {
  const profile = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-chromium-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  )
  const browser = yield* Effect.acquireRelease(
    Effect.promise(() =>
      chromium.launchPersistentContext(profile, {
        executablePath: chromiumProgram.path ?? "",
        headless: true,
        args: [
          "--headless",
          "--no-sandbox",
          "--disable-gpu",
          "--disable-quic",
          "--no-first-run",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync"
        ]
      })
    ),
    (context) => Effect.promise(() => context.close())
  )
  browser.setDefaultTimeout(patience)
  yield* Effect.promise(() =>
    browser.route(
      (url) => url.hostname !== "127.0.0.1",
      (route) => route.abort()
    )
  )
  return browser
})

/** A window in which nothing of earlier ones is left. */
export const newPage = (browser: BrowserContext): Effect.Effect<Page, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      await browser.clearCookies()
      return browser.newPage()
    }),
    (page) => Effect.promise(() => page.close())
  )

/** Logs in at the server's own page and consents at its next. */
export const consent = async (page: Page, login: string): Promise<void> => {
  await page.fill("input[name=login]", login)
  await page.fill("input[name=password]", "any")
  await page.click("button[type=submit]")
  await page.waitForSelector("input[name=prompt][value=consent]", { state: "attached" })
  await page.click("button[type=submit]")
}
