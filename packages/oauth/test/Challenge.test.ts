import { describe, expect, it } from "@effect/vitest"
import { Challenge } from "@latchkey/oauth"
import { FastCheck, Option } from "effect"

const read = (header: string | undefined) =>
  Challenge.parse(header).map(({ parameters, scheme }) => [scheme, Object.fromEntries(parameters)])

describe("parse", () => {
  it.each<[string | undefined, ReadonlyArray<[string, Record<string, string>]>]>([
    [undefined, []],
    ["", []],
    [" , ,", []],
    ["Bearer", [["bearer", {}]]],
    ['Bearer realm="a"', [["bearer", { realm: "a" }]]],
    ['bearer REALM = a , Error="invalid_token"', [["bearer", { realm: "a", error: "invalid_token" }]]],
    [
      'Bearer error=invalid_token, DPoP algs="ES256 RS256"',
      [
        ["bearer", { error: "invalid_token" }],
        ["dpop", { algs: "ES256 RS256" }]
      ]
    ],
    [
      "Negotiate, Basic, Bearer x=y",
      [
        ["negotiate", {}],
        ["basic", {}],
        ["bearer", { x: "y" }]
      ]
    ],
    [
      "Negotiate YWJj==, Bearer",
      [
        ["negotiate", {}],
        ["bearer", {}]
      ]
    ],
    ["Negotiate YWJj", [["negotiate", {}]]],
    [
      'Digest realm="say \\"hi\\", \\\\you", Bearer',
      [
        ["digest", { realm: 'say "hi", \\you' }],
        ["bearer", {}]
      ]
    ],
    ['Bearer realm="a, Basic error=x", error=y', [["bearer", { realm: "a, Basic error=x", error: "y" }]]],
    ['Bearer realm="', [["bearer", {}]]],
    ["Bearer x=y §, DPoP", [["bearer", { x: "y" }]]]
  ])("%s", (header, challenges) => {
    expect(read(header)).toEqual(challenges)
  })

  it("ends, whatever it is given, and soon", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ maxLength: 60 }), (text) => {
        for (const { scheme } of Challenge.parse(text)) expect(scheme).toMatch(/^[^\s,="]+$/)
      }),
      { seed: 4711, numRuns: 2000 }
    )
    for (const evil of ['Bearer a="', "a=", "Bearer \\", " ,", 'Bearer a="\\']) {
      const started = performance.now()
      Challenge.parse(evil.repeat(100_000))
      expect(performance.now() - started).toBeLessThan(1000)
    }
  })

  it("knows no parameter by the name of what every object has", () => {
    const [challenge] = Challenge.parse("Bearer __proto__=x")
    expect(challenge?.parameters.get("error")).toBeUndefined()
    expect(challenge?.parameters.get("__proto__")).toBe("x")
  })
})

describe("stepUp", () => {
  it.each<[string, Option.Option<Challenge.StepUp>]>([
    [
      'Bearer error="insufficient_user_authentication", acr_values="myACR", max_age="5"',
      Option.some({ acrValues: Option.some("myACR"), maxAge: Option.some("5") })
    ],
    [
      'DPoP error="insufficient_user_authentication"',
      Option.some({ acrValues: Option.none(), maxAge: Option.none() })
    ],
    ['Bearer error="invalid_token", max_age="5"', Option.none()],
    ['Basic error="insufficient_user_authentication"', Option.none()]
  ])("%s", (header, expected) => {
    expect(Challenge.stepUp(header)).toEqual(expected)
  })
})
