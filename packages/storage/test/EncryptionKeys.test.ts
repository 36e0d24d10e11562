import * as EncryptionKeys from "@latchkey/storage/EncryptionKeys"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import { keyOf } from "./keys.js"
import * as Edition from "../../core/test/support/Edition.js"

const setting = "AUTH__ENCRYPTION_KEYS"

const fromConfig = (values: Readonly<Record<string, string>>, name?: string) =>
  EncryptionKeys.EncryptionKeys.pipe(
    Effect.provide(EncryptionKeys.layerConfig(name)),
    Edition.withVariables(values)
  )

const text = (name: string) => Redacted.value(keyOf(name))
const bytes = (length: number) => Buffer.alloc(length, "canary").toString("base64")

describe("keys from the configuration", () => {
  it.effect.each([
    [text("a"), 1],
    [`${text("a")},${text("b")}`, 2],
    [` ${text("a")} ,\n ${text("b")}\t${text("c")} `, 3]
  ] as const)("are read: %j", ([value, count]) =>
    Effect.gen(function* () {
      const { first, all } = yield* fromConfig({ [setting]: value })
      assert.strictEqual(all.length, count)
      assert.strictEqual(all[0], first)
      assert.strictEqual(new Set(all.map(({ id }) => id)).size, count)
    })
  )

  const wrong = [
    { value: "", says: `${setting}: the encryption key is blank` },
    { value: " ", says: `${setting}: the encryption key is blank` },
    { value: bytes(31), says: "is 31 bytes long, but must be exactly 32" },
    { value: bytes(33), says: "is 33 bytes long, but must be exactly 32" },
    { value: bytes(16), says: "is 16 bytes long" },
    { value: "63616e617279".repeat(5) + "6361", says: "bytes long, but must be exactly 32" },
    { value: "canary!, can*ry, ca/na=ry", says: "encryption key 1 of 3" },
    { value: `${text("a")},${bytes(31)}`, says: "encryption key 2 of 2 is 31 bytes long" },
    { value: `${text("a")},`, says: "encryption key 2 of 2 is blank" }
  ]
  it.effect.each(wrong)("are refused when one is not exactly 32 bytes in base64: $value", ({ value, says }) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(fromConfig({ [setting]: value }))
      assert.strictEqual(error._op, "InvalidData")
      const shown = String(error) + Inspectable.toStringUnknown(error)
      assert.include(shown, setting)
      assert.include(shown, says)
      assert.include(shown, "openssl rand -base64 32")
      for (const part of value.split(/[\s,]+/).filter((p) => p !== "")) assert.notInclude(shown, part)
    })
  )

  it.effect("are missing by name", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(fromConfig({}))
      assert.strictEqual(missing._op, "MissingData")
      assert.include(String(missing), `Give ${setting}, the keys that encrypt the credentials`)
      assert.include(String(missing), "openssl rand -base64 32")
      const other = yield* Effect.flip(fromConfig({ [setting]: text("a") }, "OTHER_KEYS"))
      assert.include(String(other), "OTHER_KEYS")
    })
  )
})

describe("a key", () => {
  it.effect("is generated, and another each time", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([EncryptionKeys.generate, EncryptionKeys.generate])
      assert.notStrictEqual(Redacted.value(a), Redacted.value(b))
      const { all } = yield* EncryptionKeys.make([a, b])
      assert.strictEqual(all.length, 2)
    })
  )

  it.effect("shows its id and nothing else", () =>
    Effect.gen(function* () {
      const { first } = yield* EncryptionKeys.make([keyOf("a")])
      assert.match(first.id, /^[0-9a-f]{12}$/)
      assert.isFalse(first.secret.extractable)
      const raw = Buffer.from(text("a"), "base64")
      const shown = inspect(first, { depth: 10, showHidden: true }) + JSON.stringify(first)
      for (const form of [text("a"), raw.toString("hex"), raw.toString("latin1")])
        assert.notInclude(shown, form)
    })
  )
})
