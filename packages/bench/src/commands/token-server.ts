/**
 * A token server in a separate process. It rotates, allows a replay of the predecessor for a minute until its
 * successor is used, and refuses every other reuse. Its first line is its port. Each input line changes its
 * behaviour or requests its figures.
 */
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Behaviour, ServerFigures } from "../campaigns/Accounts.js"
import { blockOf, readToken, serverOf, tokenOf } from "../campaigns/AccountStore.js"
import { say, told } from "../campaigns/Child.js"
import * as Effect from "effect/Effect"
import { wallClock } from "../campaigns/Campaign.js"

const window = 60_000
const lifetime = 3_600_000

let behaviour: Behaviour = { answersAfter: 0, hangs: false, lead: 0 }
const none = { posts: 0, replays: 0, refused: 0, hung: 0, firstAt: 0, lastAt: 0, latest: 0 }
let figures = { ...none }
/** When its behaviour last changed. */
let since = wallClock()
const renewed: Record<string, number> = {}
/** The newest generation of each account, and since when. */
const grants = new Map<
  string,
  { readonly generation: number; readonly at: number; readonly expiresAt: number }
>()

/** The successor. Undefined if the refresh token was spent. */
const redeem = (refreshToken: string, now: number) => {
  const token = readToken(refreshToken)
  const newest = grants.get(token.account) ?? { generation: token.generation, at: now, expiresAt: 0 }
  figures.posts++
  figures.firstAt ||= now
  figures.lastAt = now
  if (token.generation === newest.generation) {
    const next = { generation: token.generation + 1, at: now, expiresAt: Math.round(now) + lifetime }
    const block = blockOf(token.account)
    grants.set(token.account, next)
    renewed[block] = (renewed[block] ?? 0) + 1
    const dueAt = token.expiresAt - behaviour.lead
    if (serverOf(token.account) === "good" && dueAt >= since)
      figures.latest = Math.max(figures.latest, now - dueAt)
    return { account: token.account, ...next }
  }
  if (token.generation === newest.generation - 1 && now - newest.at <= window) {
    figures.replays++
    return { account: token.account, ...newest }
  }
  figures.refused++
  return undefined
}

const answer = (refreshToken: string, outgoing: ServerResponse): void => {
  const next = redeem(refreshToken, wallClock())
  if (behaviour.hangs && serverOf(readToken(refreshToken).account) === "bad") {
    figures.hung++
    return
  }
  const send = () =>
    next === undefined
      ? outgoing.writeHead(400).end()
      : outgoing.end(JSON.stringify({ refreshToken: tokenOf("rt", next) }))
  if (behaviour.answersAfter === 0) send()
  else setTimeout(send, behaviour.answersAfter)
}

const server = createServer((incoming, outgoing) => {
  let body = ""
  incoming.setEncoding("utf8").on("data", (chunk: string) => (body += chunk))
  incoming.on("end", () => answer(body, outgoing))
})
server.listen(0, "127.0.0.1", () => say((server.address() as AddressInfo).port))

for (;;) {
  const { done, value } = await Effect.runPromise(told)
  if (done === true) process.exit(0)
  const change = JSON.parse(value) as Partial<Behaviour> | "figures"
  if (change === "figures") say({ ...figures, renewed } satisfies ServerFigures)
  else {
    behaviour = { ...behaviour, ...change }
    figures = { ...none }
    since = wallClock()
  }
}
