/** The page that a browser shows at the end of a login: plain, without script, style or link. */

export interface Page {
  readonly status: number
  readonly title: string
  readonly text: string
}

export const success: Page = {
  status: 200,
  title: "Logged in",
  text: "The login is complete. You can close this window and go back to the program."
}

export const failure = (message: string): Page => ({
  status: 400,
  title: "Login failed",
  text: `${message} You can close this window.`
})

export const cancelled: Page = failure("The program stopped waiting for this login.")

export const over: Page = {
  status: 410,
  title: "Login over",
  text: "This login already has its answer. You can close this window and go back to the program."
}

export const stray: Page = {
  status: 400,
  title: "Not this login",
  text: "This is the answer to another login, and it was ignored. Close this window, and continue in the one where the login began."
}

export const fetched: Page = {
  status: 400,
  title: "Not opened in a tab",
  text: "A page or an extension loaded this answer to the login in the background, and it was ignored. A login ends only with an address that is opened in a tab of the browser. Open this address in a tab, or start the login again in a browser without that extension."
}

export const notAnAnswer: Page = {
  status: 400,
  title: "Waiting for a login",
  text: "This is not the answer to a login. Continue in the window where the login began."
}

export const notHere: Page = {
  status: 404,
  title: "Nothing here",
  text: "A program waits here for the answer to a login, at another address."
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (c) => entities[c]!)

export const html = ({ text, title }: Page): string =>
  `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escape(title)}</title>
<h1>${escape(title)}</h1>
<p>${escape(text)}</p>
</html>
`

/** Forbids loading, framing, caching, sniffing and referrers. */
export const headers = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  connection: "close"
} as const
