/** A user at the pages of a real server, without a browser: follows redirects, sends the forms. */
import { Effect } from "effect"

/** Logs in and consents where the URL leads to, and gives the URL at which the browser would end. */
export const consent = (start: URL, login = "alice"): Effect.Effect<URL> =>
  Effect.promise(async () => {
    const { url } = await visit(start, login)
    if (url.origin === start.origin) throw new Error(`No form at ${url.pathname}`)
    return url
  })

/** Confirms the code of a login on a device that the URL holds, logs in and consents. */
export const confirmCode = (start: URL, login = "alice"): Effect.Effect<void> =>
  Effect.promise(async () => {
    const { page, url } = await visit(start, login)
    if (!page.includes("Sign-in Success")) throw new Error(`No success at ${url.pathname}: ${page}`)
  })

/** Goes on until a redirect leads to another server, or a page has no form. */
const visit = async (start: URL, login: string): Promise<{ readonly url: URL; readonly page: string }> => {
  const cookies = new Map<string, string>()
  let url = start
  let body: URLSearchParams | undefined
  for (let step = 0; step < 20; step++) {
    const response = await fetch(url, {
      redirect: "manual",
      method: body === undefined ? "GET" : "POST",
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      ...(body !== undefined && { body })
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [pair = ""] = cookie.split(";")
      cookies.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1))
    }
    const location = response.headers.get("location")
    if (location !== null) {
      url = new URL(location, url)
      body = undefined
      if (url.origin !== start.origin) return { url, page: "" }
      continue
    }
    const page = await response.text()
    const action = /<form[^>]*action="([^"]+)"/.exec(page)?.[1]
    if (action === undefined) return { url, page }
    url = new URL(action, url)
    body = new URLSearchParams(
      [...page.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)"/g)].map(
        ([, name = "", value = ""]): [string, string] => [name, value]
      )
    )
    if (body.get("prompt") === "login") for (const name of ["login", "password"]) body.set(name, login)
  }
  throw new Error("The login goes round in circles")
}
