import * as Postgres from "@latchkey/storage/Postgres"
import * as Redis from "@latchkey/storage/Redis"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import * as ConnectionUrl from "../src/internal/ConnectionUrl.js"

const form = { setting: "REDIS_URL", form: "redis://host:port", protocols: ["redis:"], hostless: false }

describe("the URL of a server", () => {
  const wrong = [
    ...[
      "canary%",
      "canary%zz",
      "%canary",
      "canary%e9",
      "can#ary",
      "can?ary",
      "can/ary",
      "can ary",
      "can\nary",
      "can\u0000ary"
    ]
  ]
  const builders: ReadonlyArray<readonly [string, (password: string) => Layer.Layer<never, unknown>]> = [
    [
      "Redis",
      (p) =>
        Layer.effectDiscard(
          Effect.scoped(
            Layer.build(
              Redis.layerConnection({
                server: Redacted.make(`redis://:${p}@127.0.0.1:1`),
                setting: "REDIS_URL"
              })
            )
          )
        )
    ],
    [
      "Redis with a user",
      (p) =>
        Layer.effectDiscard(
          Effect.scoped(
            Layer.build(
              Redis.layerConnection({ server: `redis://1:${p}@127.0.0.1:1/0`, setting: "REDIS_URL" })
            )
          )
        )
    ],
    [
      "PostgreSQL",
      (p) =>
        Layer.effectDiscard(
          Effect.scoped(
            Layer.build(
              Postgres.layerClient({
                url: Redacted.make(`postgres://1:${p}@127.0.0.1:1/db`),
                setting: "REDIS_URL"
              })
            )
          )
        )
    ]
  ]

  it.effect.each(builders.flatMap(([name, build]) => wrong.map((password) => ({ name, build, password }))))(
    "with a password that was not encoded is a ConfigError that names the setting: $name, $password (F56)",
    ({ build, password }) =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(build(password))))
        assert.isTrue(Exit.isFailure(exit))
        if (!Exit.isFailure(exit)) return
        const error = Cause.squash(exit.cause)
        assert.isTrue(Cause.isFailType(exit.cause) && ConfigError.isConfigError(error), inspect(exit.cause))
        const said = inspect(exit.cause, { depth: 9 }) + String(error) + JSON.stringify(error)
        assert.include(said, "REDIS_URL")
        assert.notMatch(said, /canary|can.?ary|127\.0\.0\.1/)
      })
  )

  it.effect.each([
    ["redis://h:99999", "is not a URL"],
    ["redis://[::1", "is not a URL"],
    ["redis:///1", "is not a URL"],
    ["", "blank"],
    [" ", "blank"],
    ["h:6379", "is not a URL"],
    ["redis://h:6379/0#x", "%23"]
  ] as const)("%j is refused", ([text, words]) =>
    Effect.sync(() => {
      const error = Either.getOrThrow(Either.flip(ConnectionUrl.parse(text, form)))
      assert.include(String(error), words)
      assert.include(String(error), "REDIS_URL")
    })
  )

  it.effect.each(["redis://h", "redis://h:1/3", "redis://[::1]:6379", "redis://u:p%40%23%25@h:1/0?family=6"])(
    "%s is taken",
    (text) => Effect.sync(() => assert.isTrue(Either.isRight(ConnectionUrl.parse(text, form))))
  )

  it("never lets out what stands in it, and takes every password that is encoded", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary", minLength: 4, maxLength: 20 }), (password) => {
        const found = ConnectionUrl.parse(`redis://u:secret${password}@h:1`, form)
        if (Either.isLeft(found))
          assert.notInclude(String(found.left) + inspect(found.left), `secret${password}`)
        let encoded: string
        try {
          encoded = encodeURIComponent(password)
        } catch {
          return
        }
        const url = Either.getOrThrow(ConnectionUrl.parse(`redis://u:${encoded}@h:1`, form))
        assert.strictEqual(decodeURIComponent(url.password), password)
      })
    )
  })
})
