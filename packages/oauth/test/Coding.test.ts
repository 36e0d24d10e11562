/** Responses with a content coding, over each client: decoded within the limit, and no rotation is lost. */
import { NodeHttpClient } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Credentials } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { Effect, Option, Redacted } from "effect"
import * as Zlib from "node:zlib"
import { clients } from "./Clients.js"
import * as Provider from "./Provider.js"

const text = JSON.stringify({
  refresh_token: "next",
  token_type: "Bearer",
  expires_in: 60,
  access_token: "new",
  filler: Array.from({ length: 400 }, (_, at) => (at * 7919) % 1000).join("")
})
const body = Buffer.from(text)

const refresh = (tokenEndpoint: string, options: Partial<RefreshToken.Options> = {}) =>
  Effect.flatMap(
    RefreshToken.make({ server: { tokenEndpoint }, client: { clientId: "client" }, ...options }),
    (refresher) =>
      refresher.refresh(Option.some(Credentials.make({ accessToken: "old", refreshToken: "spent" })))
  )

const serve = (coded: Uint8Array, coding: string | undefined, status = 200) =>
  Provider.listen((_, response) => {
    response.writeHead(status, {
      "content-type": "application/json",
      ...(coding !== undefined && { "content-encoding": coding })
    })
    response.end(coded)
  })

const refreshTokenOf = (credentials: Credentials.Credentials | undefined) =>
  credentials && Option.getOrNull(Option.map(credentials.refreshToken, Redacted.value))

const failure = (url: string) =>
  Effect.map(Effect.flip(refresh(url)), (error) => {
    if (error._tag !== "RefreshError") throw new Error(`not sent: ${error.message}`)
    return error
  })

const { deflateRawSync, deflateSync, gzipSync, brotliCompressSync } = Zlib
const bomb = gzipSync(
  Buffer.concat([
    Buffer.from('{"refresh_token":"next","filler":"'),
    Buffer.alloc(64 * 1024 * 1024, "x"),
    Buffer.from('"}')
  ])
)

describe.each(clients)("over %s", (_, client) => {
  it.scopedLive("no coding is asked for (F50)", () =>
    Effect.gen(function* () {
      let asked: unknown
      const server = yield* Provider.listen((request, response) => {
        asked = request.headers["accept-encoding"]
        response.end(body)
      })
      yield* refresh(server.url)
      expect(asked).toBe("identity")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive.each<readonly [string, string | undefined, Uint8Array]>([
    ["gzip", "gzip", gzipSync(body)],
    ["gzip in capitals", "GZIP", gzipSync(body)],
    ["x-gzip", "x-gzip", gzipSync(body)],
    ["deflate", "deflate", deflateSync(body)],
    ["deflate without the header of zlib", "deflate", deflateRawSync(body)],
    ["br", "br", brotliCompressSync(body)],
    ["gzip twice", "gzip, gzip", gzipSync(gzipSync(body))],
    ["deflate, then gzip", "deflate, gzip", gzipSync(deflateSync(body))],
    ["gzip, then br", "gzip, br", brotliCompressSync(gzipSync(body))],
    ["gzip that nobody declared", undefined, gzipSync(body)],
    ["nothing but a wrong header", "identity", body]
  ])("%s is undone", ([, coding, coded]) =>
    Effect.gen(function* () {
      const server = yield* serve(coded, coding)
      const credentials = yield* refresh(server.url)
      expect(refreshTokenOf(credentials)).toBe("next")
      expect(Redacted.value(credentials.accessToken)).toBe("new")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("an error answer is read too", () =>
    Effect.gen(function* () {
      const server = yield* serve(gzipSync('{"error":"invalid_grant"}'), "gzip", 400)
      expect((yield* failure(server.url)).reason).toBe("GrantDead")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("a bomb is cut at 1 MiB, and the refresh token in it is saved", () =>
    Effect.gen(function* () {
      for (const [coded, coding] of [
        [bomb, "gzip"],
        [gzipSync(bomb), "gzip, gzip"]
      ] as const) {
        const server = yield* serve(coded, coding)
        const error = yield* failure(server.url)
        expect(error.reason).toBe("Malformed")
        expect(refreshTokenOf(error.salvaged)).toBe("next")
      }
    }).pipe(Effect.provide(client))
  )
})

/** `fetch` undoes codings by itself, as it likes; these hand out what came. */
const raw = clients.filter(([name]) => name !== "FetchHttpClient")

describe.each(raw)("what is broken, over %s", (_, client) => {
  it.scopedLive.each([
    ["gzip", gzipSync(body)],
    ["deflate", deflateSync(body)],
    ["br", brotliCompressSync(body)]
  ] as const)("the refresh token of a %s body that was cut off is saved", ([coding, coded]) =>
    Effect.gen(function* () {
      const server = yield* serve(coded.subarray(0, coded.length - 20), coding)
      const error = yield* failure(server.url)
      expect(error.reason).toBe("Malformed")
      expect(refreshTokenOf(error.salvaged)).toBe("next")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("and of one whose connection broke, or whose checksum is wrong", () =>
    Effect.gen(function* () {
      const coded = gzipSync(body)
      const broken = yield* Provider.listen((_, response) => {
        response.writeHead(200, { "content-encoding": "gzip", "content-length": coded.length })
        response.write(coded.subarray(0, coded.length - 20), () => response.destroy())
      })
      expect(refreshTokenOf((yield* failure(broken.url)).salvaged)).toBe("next")
      const wrong = Uint8Array.from(coded)
      wrong[wrong.length - 6]! ^= 1
      const server = yield* serve(wrong, "gzip")
      const error = yield* failure(server.url)
      expect(error.reason).toBe("Malformed")
      expect(refreshTokenOf(error.salvaged)).toBe("next")
    }).pipe(Effect.provide(client))
  )

  it.scopedLive("half a token of a form is not saved", () =>
    Effect.gen(function* () {
      const coded = gzipSync(`access_token=new&refresh_token=${body.toString("hex")}`)
      const server = yield* serve(coded.subarray(0, coded.length - 30), "gzip")
      expect((yield* failure(server.url)).salvaged).toBeUndefined()
    }).pipe(Effect.provide(client))
  )

  it.scopedLive.each([
    ["compress", Buffer.from([0x1f, 0x9d, 0x90, 0x61])],
    ["a-new-one", Buffer.from([1, 2, 3, 4])],
    ["gzip, gzip, gzip, gzip, gzip", gzipSync(body)],
    ["gzip", Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(40, 0xff)])]
  ] as const)("%s that cannot be undone is named", ([coding, coded]) =>
    Effect.gen(function* () {
      const error = yield* failure((yield* serve(coded, coding)).url)
      expect(error.reason).toBe("Malformed")
      expect(error.message).toContain(coding)
      const refused = yield* failure((yield* serve(coded, coding, 401)).url)
      expect(refused.reason).toBe("Misconfigured")
      expect(refused.message).toContain(coding)
    }).pipe(Effect.provide(client))
  )
})

it.scopedLive(
  "an answer that is coded and comes in pieces, slowly, is cut by the time-out like any other",
  () =>
    Effect.gen(function* () {
      const coded = gzipSync(body)
      const server = yield* Provider.listen((_, response) => {
        response.writeHead(200, { "content-encoding": "gzip" })
        response.write(coded.subarray(0, coded.length - 20))
      })
      const error = yield* Effect.flip(refresh(server.url, { timeout: "500 millis" }))
      expect(error).toMatchObject({ reason: "Malformed" })
      expect(error._tag === "RefreshError" && refreshTokenOf(error.salvaged)).toBe("next")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici))
)
