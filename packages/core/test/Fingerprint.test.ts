import { createHash } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as FC, Redacted } from "effect"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import { runs } from "./support/Arbitraries.js"
import * as Properties from "./support/Properties.js"

const platform = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

describe("sha256", () => {
  it.each([
    ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    [
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ]
  ])("of %j is what FIPS 180-4 says", (text, digest) => {
    expect(Fingerprint.sha256(new TextEncoder().encode(text))).toBe(digest)
  })

  it("agrees with the platform at every length around the ends of its blocks", () => {
    for (let length = 0; length <= 200; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 151 + length * 7) & 0xff)
      expect(Fingerprint.sha256(bytes), `length ${length}`).toBe(platform(bytes))
    }
  })

  Properties.prop(
    "agrees with the platform",
    [FC.uint8Array({ maxLength: 400, size: "max" })],
    ([bytes]) => {
      expect(Fingerprint.sha256(bytes)).toBe(platform(bytes))
    },
    runs(1000)
  )

  it("leaves its argument as it was, and a view into a larger buffer is only what it shows", () => {
    const buffer = Uint8Array.from({ length: 100 }, (_, i) => i)
    const view = buffer.subarray(10, 70)
    expect(Fingerprint.sha256(view)).toBe(platform(view))
    expect([...buffer]).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })
})

describe("of", () => {
  Properties.prop(
    "is the first 12 hex digits of the digest of the secret's UTF-8",
    [FC.string({ unit: "binary", maxLength: 100 })],
    ([secret]) => {
      const fingerprint = Fingerprint.of(Redacted.make(secret))
      expect(fingerprint).toBe(platform(new TextEncoder().encode(secret)).slice(0, 12))
      expect(fingerprint).toMatch(/^[0-9a-f]{12}$/)
    },
    runs(200)
  )
})
