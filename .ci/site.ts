/**
 * The built site in a browser, as wide as a phone and as a desk: pages that are wider than the screen, errors on the
 * console, requests that fail, and searches that find nothing. Run after `npm run docs`.
 */
import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { extname, join } from "node:path"
import { chromium, type Page } from "playwright-core"
import { chromium as installed, prefix } from "./programs.js"

const site = join(import.meta.dirname, "../packages/docs/site")

const sizes = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 900 } }
const pages = [
  "/",
  "/guide/",
  "/guide/start.html",
  "/guide/rotation-races.html",
  "/guide/guarantees.html",
  "/guide/phases.html",
  "/guide/runbook.html",
  "/packages/cli.html",
  "/api/",
  "/api/core/",
  "/api/core/TokenManager.html",
  "/api/storage/Postgres.html"
]
/** What a reader searches for, and the page that the results must have. */
const searches = {
  "The authorization server ended this grant": "/guide/runbook",
  BearerClient: "/api/oauth/"
}

const types: Readonly<Record<string, string>> = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".woff2": "font/woff2"
}

const serve = async () => {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://site").pathname)
    const file = path.endsWith("/") ? `${path}index.html` : path
    readFile(join(site, file)).then(
      (body) => response.writeHead(200, { "content-type": types[extname(file)] ?? "text/plain" }).end(body),
      () => response.writeHead(404).end()
    )
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return { server, home: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const overflowOf = (page: Page): Promise<number> =>
  page.evaluate("document.documentElement.scrollWidth - window.innerWidth")

const resultsOf = async (page: Page, text: string): Promise<ReadonlyArray<string>> => {
  await page.click(".VPNavBarSearch button")
  await page.fill(".search-input", text)
  const results = page.locator(".VPLocalSearchBox a.result")
  await results
    .first()
    .waitFor({ timeout: 30_000 })
    .catch(() => undefined)
  const links = await Promise.all((await results.all()).map((link) => link.getAttribute("href")))
  await page.keyboard.press("Escape")
  return links.map((link) => link ?? "")
}

const look = async (executablePath: string): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  const { home, server } = await serve()
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] })
  try {
    for (const [size, viewport] of Object.entries(sizes)) {
      // First with the recording at rest.
      const page = await browser.newPage({ viewport, reducedMotion: "reduce" })
      const note = (text: string) => problems.push(`${size} ${page.url().slice(home.length)}: ${text}`)
      page.on("console", (message) => message.type() === "error" && note(message.text()))
      page.on("pageerror", (error) => note(error.message))
      page.on(
        "request",
        (request) =>
          request.url().startsWith("http") && !request.url().startsWith(home) && note(`asks ${request.url()}`)
      )
      for (const path of pages) {
        await page.goto(`${home}${path}`, { waitUntil: "networkidle" })
        const overflow = await overflowOf(page)
        if (overflow > 0) note(`is ${overflow} pixels wider than the screen`)
      }
      for (const [text, expected] of Object.entries(searches)) {
        const links = await resultsOf(page, text)
        if (!links.some((link) => link.startsWith(expected)))
          note(`a search for "${text}" does not find ${expected}: ${links.join(", ") || "nothing"}`)
      }
      await page.emulateMedia({ reducedMotion: "no-preference" })
      await page.goto(`${home}/`, { waitUntil: "networkidle" })
      await page.locator(".recording").scrollIntoViewIfNeeded()
      await page
        .locator(".recording .to-come")
        .first()
        .waitFor({ state: "attached", timeout: 30_000 })
        .catch(() => note("the recording does not play"))
      await page.getByRole("button", { name: "Show all" }).click()
      if ((await page.locator(".recording .to-come").count()) > 0) note("the recording hides lines")
      await page.close()
    }
  } finally {
    await browser.close()
    server.close()
  }
  return problems
}

if (!existsSync(join(site, "index.html"))) {
  console.error("There is no site yet: npm run docs")
  process.exitCode = 1
} else if (installed.path === undefined) {
  console.log(
    `${prefix}the site in a browser (install Debian's chromium, or set CHROMIUM_PATH to a Chromium)`
  )
} else {
  const problems = await look(installed.path)
  for (const problem of problems) console.error(problem)
  console.log(`${pages.length} pages at ${Object.keys(sizes).length} widths: ${problems.length} problems`)
  process.exitCode = problems.length === 0 ? 0 : 1
}
