/** Webhook messages: signed, repeated, and free of secrets, at a real receiver. */
import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { AccountNotice, AccountNotices } from "@latchkey/core"
import { Webhook } from "@latchkey/oauth"
import { Effect, Layer, Queue, Redacted, Stream, TestClock } from "effect"
import { createHmac } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Edition from "../../core/test/support/Edition.js"
import { answering, type Reply } from "./Memory.js"

const secretBytes = Buffer.alloc(32, 7)
const secret = Redacted.make(`whsec_${secretBytes.toString("base64")}`)
const old = Redacted.make(`whsec_${Buffer.alloc(24, 9).toString("base64")}`)
const url = "https://hooks.example.com/latchkey"
const start = 1_700_000_000_000

const needs = AccountNotice.NeedsLogin({ id: "n1", account: "alice", at: start })
const recovered = AccountNotice.Recovered({ id: "n2", account: "alice", at: start + 5000 })

/** Signed by other means than the source's. */
const signature = (id: string, timestamp: string, body: string, key = secretBytes) =>
  `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`

const notices = Effect.map(Queue.unbounded<AccountNotice.AccountNotice>(), (queue) => ({
  send: (notice: AccountNotice.AccountNotice) => Queue.offer(queue, notice),
  layer: Layer.succeed(AccountNotices.AccountNotices, { notices: Stream.fromQueue(queue) })
}))

const settle = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 30)))

/** Signatures are made by the platform, in a time of their own. */
const until = (isDone: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (isDone() ? Effect.void : Effect.andThen(settle, until(isDone))))

/** A receiver in memory, that gives these replies. */
const receiver = (replies: ReadonlyArray<Reply>, over: Partial<Webhook.Options> = {}) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const { asked, layer } = answering(...replies)
    const source = yield* notices
    yield* Effect.provide(Webhook.make({ url, secrets: [secret], ...over }), Layer.merge(layer, source.layer))
    return { asked, send: source.send }
  })

describe("a message", () => {
  it.scoped("names the account, and is signed with each secret", () =>
    Effect.gen(function* () {
      const { asked, send } = yield* receiver([{ status: 202, body: "" }], { secrets: [secret, old] })
      yield* send(needs)
      // Each is signed in a time of its own, so the second might arrive before the first.
      yield* until(() => asked.length === 1)
      yield* send(recovered)
      yield* until(() => asked.length === 2)
      expect(asked.map(({ body }) => JSON.parse(body) as unknown)).toEqual([
        { id: "n1", type: "account.needs_login", account: "alice", at: "2023-11-14T22:13:20.000Z" },
        { id: "n2", type: "account.recovered", account: "alice", at: "2023-11-14T22:13:25.000Z" }
      ])
      const [{ body, headers, method, url: to }] = asked as [(typeof asked)[number]]
      expect([method, to, headers["content-type"]]).toEqual(["POST", url, "application/json"])
      expect(headers["webhook-id"]).toBe("n1")
      expect(headers["webhook-timestamp"]).toBe(`${start / 1000}`)
      expect(headers["webhook-signature"]).toBe(
        [
          signature("n1", `${start / 1000}`, body),
          signature("n1", `${start / 1000}`, body, Buffer.alloc(24, 9))
        ].join(" ")
      )
    })
  )

  it.scoped("is repeated with a new time until it arrives, and does not hold up another", () =>
    Effect.gen(function* () {
      const failing = Array.from({ length: 3 }, (): Reply => ({ status: 500, body: "no" }))
      const { asked, send } = yield* receiver([...failing, { status: 200, body: "" }])
      yield* send(needs)
      yield* until(() => asked.length === 1)
      yield* settle
      for (let i = 0; i < 120 && asked.length < 4; i++) {
        yield* TestClock.adjust("1 second")
        yield* settle
      }
      expect(asked).toHaveLength(4)
      expect(new Set(asked.map(({ headers }) => headers["webhook-id"]))).toEqual(new Set(["n1"]))
      const times = asked.map(({ headers }) => Number(headers["webhook-timestamp"]))
      const pauses = times.slice(1).map((time, i) => time - times[i]!)
      // 5, 15 and 45 seconds, each up to a fifth longer or shorter. The clock goes on while a message is signed.
      for (const [i, expected] of [5, 15, 45].entries()) {
        expect(pauses[i]).toBeGreaterThanOrEqual(Math.floor(expected * 0.8))
        expect(pauses[i]).toBeLessThanOrEqual(expected * 1.2 + 5)
      }
      yield* TestClock.adjust("1 day")
      yield* settle
      expect(asked).toHaveLength(4)
    })
  )

  it.scoped("is given up after its attempts, and follows no redirect", () =>
    Effect.gen(function* () {
      const { asked, send } = yield* receiver(
        [{ status: 302, headers: { location: "https://evil.example/" }, body: "" }],
        { attempts: 3 }
      )
      yield* send(needs)
      for (let i = 0; i < 100 && asked.length < 3; i++) {
        yield* settle
        yield* TestClock.adjust("1 minute")
      }
      yield* TestClock.adjust("1 day")
      yield* settle
      expect(asked.map((request) => request.url)).toEqual([url, url, url])
    })
  )

  it.scopedLive("arrives at a real receiver, which verifies it", () =>
    Effect.gen(function* () {
      const received = yield* Queue.unbounded<{ headers: Record<string, string>; body: string }>()
      const server = createServer((request, response) => {
        let body = ""
        request.setEncoding("utf8").on("data", (part: string) => (body += part))
        request.on("end", () => {
          received.unsafeOffer({ headers: { ...request.headers } as Record<string, string>, body })
          response.writeHead(204).end()
        })
      })
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      const source = yield* notices
      const { port } = server.address() as AddressInfo
      yield* Effect.provide(
        Webhook.make({ url: `http://127.0.0.1:${port}/hook`, secrets: [secret, old] }),
        Layer.merge(FetchHttpClient.layer, source.layer)
      )
      yield* source.send(needs)
      const { body, headers } = yield* Queue.take(received)
      // Its own time, because a machine under load takes seconds to get here.
      const now = Number(headers["webhook-timestamp"]) * 1000
      const isGenuine = (over: Record<string, string>, text = body, at = now, by = secret) =>
        Webhook.verify([by], { ...headers, ...over }, text, at)
      expect(yield* isGenuine({})).toBe(true)
      expect(yield* isGenuine({}, body, now, old)).toBe(true)
      const other = Redacted.make(`whsec_${Buffer.alloc(32, 1).toString("base64")}`)
      expect(yield* isGenuine({}, body, now, other)).toBe(false)
      expect(yield* isGenuine({}, body.replace("alice", "bob"))).toBe(false)
      expect(yield* isGenuine({ "webhook-id": "n9" })).toBe(false)
      expect(yield* isGenuine({ "webhook-signature": "v1," })).toBe(false)
      expect(
        yield* isGenuine({ "webhook-signature": headers["webhook-signature"]!.replace("v1,", "v2,") })
      ).toBe(false)
      expect(yield* isGenuine({ "webhook-timestamp": `${Math.floor(now / 1000) + 1}` })).toBe(false)
      expect(yield* isGenuine({}, body, now + 301_000)).toBe(false)
      expect(yield* isGenuine({}, body, now - 301_000)).toBe(false)
    })
  )
})

describe("the settings", () => {
  it.effect.each([
    [{ url: "http://hooks.example.com/" }, "url"],
    [{ url: "https://user:word@hooks.example.com/" }, "url"],
    [{ secrets: [Redacted.make("canary-secret")] as const }, "secrets[0]"],
    [{ secrets: [secret, Redacted.make("whsec_Y2FuYXJ5")] as const }, "secrets[1]"],
    [{ attempts: 0 }, "attempts"]
  ] as const)("%j cannot work", ([over, setting]) =>
    Effect.gen(function* () {
      const source = yield* notices
      const made = Webhook.make({ url, secrets: [secret], ...over })
      const error = yield* Effect.flip(
        Effect.scoped(Effect.provide(made, Layer.merge(answering({}).layer, source.layer)))
      )
      expect(error).toMatchObject({ _tag: "OAuthConfigError", setting })
      expect(error.message).not.toMatch(/canary|Y2FuYXJ5|word@/)
    })
  )

  it.scoped("come from the environment", () =>
    Effect.gen(function* () {
      const source = yield* notices
      const { asked, layer } = answering({ status: 200, body: "" })
      const variables = {
        AUTH__WEBHOOK_URL: url,
        AUTH__WEBHOOK_SECRETS: `${Redacted.value(secret)},${Redacted.value(old)}`
      }
      yield* Layer.build(
        Webhook.layerConfig().pipe(
          Layer.provide([layer, source.layer]),
          Layer.provide(Edition.layerVariables(variables))
        )
      )
      yield* source.send(needs)
      yield* until(() => asked.length === 1)
      expect(asked[0]!.headers["webhook-signature"]!.split(" ")).toHaveLength(2)
    })
  )
})
