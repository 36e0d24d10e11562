import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { maxDepth, parse, stringify } from "../src/internal/StrictJson.js"
import * as Properties from "../../core/test/support/Properties.js"

const encode = (text: string) => new TextEncoder().encode(text)
const document = FastCheck.dictionary(FastCheck.string(), FastCheck.jsonValue(), { noNullPrototype: true })

describe("strict JSON", () => {
  it.each([
    ["", "is empty"],
    ["{", "ends too early at line 1, column 2"],
    ['{"a":"b', "ends too early at line 1, column 8"],
    ['{"a":1}x', "has data after its end at line 1, column 8"],
    ['{\n  "a": 1,\n  "a": 2\n}', "has a key twice at line 3, column 3"],
    ['{"a":{"__proto__":1}}', "has a key that is not allowed (__proto__) at line 1, column 7"],
    ['{"\\u005f_proto__":1}', "has a key that is not allowed (__proto__) at line 1, column 2"],
    ["[]", "holds no JSON object at its top level"],
    ["12345678901234567890", "holds no JSON object at its top level"],
    ['{"a":1,}', "is not JSON: a key is missing at line 1, column 8"],
    ['{"a" 1}', "is not JSON: a colon is missing at line 1, column 6"],
    ['{"a":1 "b":2}', "is not JSON: a comma or closing brace is missing at line 1, column 8"],
    ['{"a":[1 2]}', "is not JSON: a comma or closing bracket is missing at line 1, column 9"],
    ['{"a":secret}', "is not JSON: a value is missing at line 1, column 6"],
    ['{"a":"\\x"}', "is not JSON: an escape is not valid at line 1, column 7"],
    ['{"a":"\n"}', "is not JSON: a control character in a string at line 1, column 7"],
    ['{"a":01}', "is not JSON: a comma or closing brace is missing at line 1, column 7"]
  ])("refuses %j", (text, problem) => {
    assert.deepStrictEqual(parse(encode(text)), Either.left(problem))
  })

  it.each([
    [[0xef, 0xbb, 0xbf, 0x7b, 0x7d], "begins with a byte order mark"],
    [[0xff, 0xfe, 0x7b, 0x00], "is UTF-16, not UTF-8"],
    [[0xfe, 0xff, 0x00, 0x7b], "is UTF-16, not UTF-8"],
    [[0x7b, 0x00, 0x7d, 0x00], "is UTF-16, not UTF-8"],
    [[0x00, 0x7b, 0x00, 0x7d], "is UTF-16, not UTF-8"],
    [[0x00, 0x00, 0x00], "is filled with NUL bytes"],
    [[0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d], "is not UTF-8"]
  ])("refuses the bytes %j", (bytes, problem) => {
    assert.deepStrictEqual(parse(Uint8Array.from(bytes)), Either.left(problem))
  })

  it("is bounded in depth, and right up to the bound", () => {
    const nested = (levels: number) => encode(`{"a":${"[".repeat(levels)}${"]".repeat(levels)}}`)
    assert.isTrue(Either.isRight(parse(nested(maxDepth - 1))))
    for (const levels of [maxDepth, 100_000]) {
      const refused = Either.flip(parse(nested(levels))).pipe(Either.getOrThrow)
      assert.include(refused, `is nested more than ${maxDepth} levels deep`)
    }
  })

  Properties.prop("reads what JSON.parse reads", [document], ([value]) => {
    FastCheck.pre(!JSON.stringify(value).includes("__proto__"))
    for (const indent of [0, 2]) {
      const text = JSON.stringify(value, null, indent)
      assert.deepStrictEqual(Either.getOrThrow(parse(encode(text))), JSON.parse(text))
    }
  })

  Properties.prop(
    "takes nothing that JSON.parse does not take",
    [document, FastCheck.nat(), FastCheck.constantFrom(...'{}[]",:\\ 0-1.eE+tx\n')],
    ([value, at, char]) => {
      const text = JSON.stringify(value)
      const i = at % text.length
      const mutated = text.slice(0, i) + char + text.slice(i + 1)
      if (Either.isRight(parse(encode(mutated)))) JSON.parse(mutated)
    }
  )

  it("writes back numbers that JavaScript cannot hold, and keeps the layout", () => {
    for (const text of [
      '{"id":12345678901234567890,"tiny":0.12345678901234567890,"huge":1e999,"plain":1.5}\n',
      '{\n\t"id": 12345678901234567890,\n\t"list": [\n\t\t-98765432109876543210\n\t]\n}\n',
      '{\n    "a": 1\n}\n'
    ]) {
      assert.strictEqual(stringify(Either.getOrThrow(parse(encode(text))), text), text)
    }
  })
})
