/** The status page as HTML. Pure. Every value is escaped, and nothing on the page runs a script. */
import type { Account } from "@latchkey/core/TokenStorages"
import type { Activity } from "./activity.js"

/** An account on the page. Instants are ISO 8601. */
export interface Shown {
  readonly account: string
  readonly state: Account["state"]
  readonly nextRenewal: string | null
  readonly mustLogIn: boolean
  readonly lastError: { readonly message: string } | null
  /** Where its user logs in again. */
  readonly link: string | undefined
  /** What to do if there is no link. */
  readonly advice?: string | undefined
}

export interface Content {
  readonly now: number
  readonly count: number
  readonly due: number
  readonly state: Account["state"] | undefined
  readonly rows: ReadonlyArray<Shown>
  readonly next: string | undefined
  /** Undefined: nothing was counted. */
  readonly hour: Activity | undefined
}

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** Directional marks could reorder what surrounds a name. */
export const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (c) => escapes[c] ?? "").replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, "\uFFFD")

/** Its SHA-256 is in the policy of the page, so that no other style applies. */
export const style = `
:root{color-scheme:light dark;--line:#8884;--bad:#c62828;--good:#2e7d32}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:1rem 0 .5rem}
nav a{display:inline-block;padding:.25rem .75rem;margin:.5rem .25rem .5rem 0;border:1px solid var(--line);border-radius:1rem;color:inherit;text-decoration:none}
nav a[aria-current]{background:#8883;font-weight:600}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.5rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.needs td:first-child{border-left:4px solid var(--bad)}
.button{display:inline-block;padding:.25rem .75rem;border-radius:.25rem;background:var(--bad);color:#fff;text-decoration:none;white-space:nowrap}
svg{display:block;width:100%;height:6rem;border-bottom:1px solid var(--line)}
.good{fill:var(--good)}.bad{fill:var(--bad)}
@media(max-width:40rem){thead{position:absolute;clip-path:inset(50%)}tr,td{display:block}td{border:0;padding:.15rem .5rem}tr{border-bottom:1px solid var(--line);padding:.5rem 0}td:empty{display:none}td[data-label]::before{content:attr(data-label) ": ";opacity:.7}}
`

const stateWords: Readonly<Record<Account["state"], string>> = {
  Renewable: "renewed by itself",
  Dead: "ended by the server",
  Fixed: "cannot be renewed"
}

const filters: ReadonlyArray<readonly [Account["state"] | undefined, string]> = [
  [undefined, "All"],
  ["Dead", "Ended"],
  ["Renewable", "Renewed"],
  ["Fixed", "Fixed"]
]

/** A time as a person reads it: how far away, and the time itself. */
export const relative = (iso: string | null, now: number): string => {
  if (iso === null) return "never"
  const millis = Date.parse(iso) - now
  const minutes = Math.round(Math.abs(millis) / 60_000)
  const size =
    minutes < 1
      ? "less than a minute"
      : minutes < 120
        ? `${minutes} min`
        : minutes < 2880
          ? `${Math.round(minutes / 60)} h`
          : `${Math.round(minutes / 1440)} days`
  return millis < 0 ? `${size} ago` : `in ${size}`
}

const time = (iso: string | null, now: number): string =>
  iso === null ? "never" : `<time datetime="${escape(iso)}">${relative(iso, now)}</time>`

const rowOf = (row: Shown, now: number): string => {
  const action =
    row.link !== undefined
      ? `<a class="button" rel="noreferrer" href="${escape(row.link)}">Log in again</a>`
      : row.mustLogIn
        ? escape(row.advice ?? "Its user must log in again")
        : ""
  const error = row.lastError === null ? "" : escape(row.lastError.message)
  return `<tr${row.mustLogIn ? ' class="needs"' : ""}><td><strong>${escape(row.account)}</strong></td>
<td data-label="State">${stateWords[row.state]}</td>
<td data-label="Next renewal">${time(row.nextRenewal, now)}</td>
<td${error === "" ? "" : ' data-label="Last error"'}>${error}</td>
<td>${action}</td></tr>`
}

const counted = (n: number, word: string, plural: string): string => `${n} ${word}${n === 1 ? "" : plural}`

const chart = (hour: Activity): string => {
  const most = Math.max(1, ...hour.map(({ failed, refreshed }) => failed + refreshed))
  const total = (key: "refreshed" | "failed") => hour.reduce((sum, one) => sum + one[key], 0)
  const words = `${counted(total("refreshed"), "refresh", "es")} and ${counted(total("failed"), "failure", "s")} in the last hour`
  const bars = hour.flatMap(({ failed, refreshed }, i) => {
    const good = (refreshed / most) * 100
    const bad = (failed / most) * 100
    return [
      ...(refreshed > 0
        ? [`<rect class="good" x="${i}" y="${100 - good}" width=".8" height="${good}"/>`]
        : []),
      ...(failed > 0
        ? [`<rect class="bad" x="${i}" y="${100 - good - bad}" width=".8" height="${bad}"/>`]
        : [])
    ]
  })
  return `<h2>${words}</h2>
<svg viewBox="0 0 ${hour.length} 100" preserveAspectRatio="none" role="img" aria-label="${words}, seen by this process">${bars.join("")}</svg>`
}

const query = (state: Account["state"] | undefined, after?: string): string => {
  const search = new URLSearchParams({
    ...(state !== undefined && { state }),
    ...(after !== undefined && { after })
  })
  return `?${search}`
}

export const render = (content: Content): string => {
  const { count, due, hour, next, now, rows, state } = content
  const needs = rows.filter(({ mustLogIn }) => mustLogIn).length
  const links = filters.map(
    ([name, words]) =>
      `<a href="${escape(query(name))}"${name === state ? ' aria-current="page"' : ""}>${words}</a>`
  )
  // The accounts whose user must act come first.
  const sorted = [...rows].sort((a, b) => Number(b.mustLogIn) - Number(a.mustLogIn))
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer"><title>Accounts</title><style>${style}</style></head>
<body><h1>Accounts</h1>
<p>${count} stored, ${due} due now. ${needs} on this page must log in again.</p>
${hour === undefined ? "" : chart(hour)}
<nav aria-label="State">${links.join("")}</nav>
${
  rows.length === 0
    ? "<p>No account is in this list.</p>"
    : `<table><thead><tr><th>Account</th><th>State</th><th>Next renewal</th><th>Last error</th><th></th></tr></thead>
<tbody>${sorted.map((row) => rowOf(row, now)).join("\n")}</tbody></table>`
}
${next === undefined ? "" : `<p><a href="${escape(query(state, next))}">More accounts</a></p>`}
</body></html>
`
}
