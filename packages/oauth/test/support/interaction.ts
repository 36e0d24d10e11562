/** A user at the login and consent pages of a real server, without a browser: follows redirects, sends the forms. */
import { Effect } from "effect"

/** Logs in and consents where the URL leads to, and gives the URL at which the browser would end. */
export const consent = (start: URL, login = "alice"): Effect.Effect<URL> =>
  Effect.promise(async () => {
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
        if (url.origin !== start.origin) return url
        continue
      }
      const page = await response.text()
      const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1]
      const action = /<form[^>]*action="([^"]+)"/.exec(page)?.[1]
      if (prompt === undefined || action === undefined) throw new Error(`No form at ${url.pathname}: ${page}`)
      url = new URL(action, url)
      body = new URLSearchParams(prompt === "login" ? { prompt, login, password: "x" } : { prompt })
    }
    throw new Error("The login goes round in circles")
  })
