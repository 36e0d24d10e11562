import { describe, expect, it } from "@effect/vitest"
import type { ConfigError } from "effect"
import { Duration, Effect, Either, Layer } from "effect"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as Edition from "./support/Edition.js"

const made = (options?: TokenConfig.Options) => Either.getOrThrow(TokenConfig.make(options))

/** What is wrong, in words, and where. */
const problem = (result: Either.Either<unknown, ConfigError.ConfigError>) => {
  return Edition.invalidSetting(Either.getOrThrow(Either.flip(result)))
}

const refused = (options: TokenConfig.Options) => problem(TokenConfig.make(options))

describe("make", () => {
  it("has the original's defaults for what the original has, and a value for all else", () => {
    expect(made()).toEqual({
      credentialsTtl: 30_000,
      grace: 120_000,
      mode: "wait",
      patience: 10_000,
      jitter: 0.5,
      instance: undefined,
      refreshTimeout: 30_000,
      leaseTtl: 60_000,
      leaseWait: 45_000,
      coolDownBase: 1000,
      coolDownMax: 300_000,
      statusTtl: 60_000
    })
  })

  it("takes durations of any kind", () => {
    expect(
      made({
        credentialsTtl: 1500,
        refreshGrace: "3 minutes",
        refreshMode: "background",
        patience: Duration.seconds(2),
        jitter: 1,
        instance: "host-1",
        refreshTimeout: [4, 500_000_000],
        leaseTtl: 5_000_000_000n,
        leaseWait: 0,
        coolDownBase: "1 milli",
        coolDownMax: "1 hour",
        statusTtl: "0.5 seconds"
      })
    ).toEqual({
      credentialsTtl: 1500,
      grace: 180_000,
      mode: "background",
      patience: 2000,
      jitter: 1,
      instance: "host-1",
      refreshTimeout: 4500,
      leaseTtl: 5000,
      leaseWait: 0,
      coolDownBase: 1,
      coolDownMax: 3_600_000,
      statusTtl: 500
    })
  })

  const durations = [
    "credentialsTtl",
    "refreshGrace",
    "patience",
    "refreshTimeout",
    "leaseTtl",
    "leaseWait",
    "coolDownBase",
    "coolDownMax",
    "statusTtl"
  ] as const
  const useless: ReadonlyArray<readonly [name: string, input: Duration.DurationInput]> = [
    ["negative", -1],
    ["NaN", Number.NaN],
    ["Infinity", Infinity],
    ["-Infinity", -Infinity],
    ["negative in words", "-5 seconds"],
    ["infinite", Duration.infinity],
    ["a negative bigint", -1n],
    ["a negative pair", [-1, 0]],
    ["a pair with NaN", [0, Number.NaN]],
    ["an endless pair", [Infinity, 0]],
    ["no duration", JSON.parse('"soon"') as "1 second"]
  ]

  it.each(durations.flatMap((setting) => useless.map(([name, input]) => [setting, name, input] as const)))(
    "%s: refuses what is %s",
    (setting, _, input) => {
      expect(refused({ [setting]: input })).toEqual({
        path: [setting],
        message: `${setting} must be a finite duration, not negative`
      })
    }
  )

  it.each([
    [30_000, 30_000, true],
    [30_000, 29_999, true],
    [30_000, 30_001, false],
    [0, 0, true],
    [0, 1, false]
  ])("a refresh of up to %d ms under a lease of %d ms", (refreshTimeout, leaseTtl, fails) => {
    const result = TokenConfig.make({ refreshTimeout, leaseTtl })
    expect(Either.isLeft(result)).toBe(fails)
    if (fails) {
      expect(problem(result)).toEqual({
        path: ["leaseTtl"],
        message: "leaseTtl must be longer than refreshTimeout, or a refresh can outlive its lease"
      })
    }
  })

  it.each([[0], [0.5], [1]])("a jitter of %d is one", (jitter) => {
    expect(made({ jitter }).jitter).toBe(jitter)
  })

  it.each([[-0.01], [1.01], [Number.NaN], [Infinity]])("a jitter of %d is none", (jitter) => {
    expect(refused({ jitter })).toEqual({ path: ["jitter"], message: "jitter must be a number from 0 to 1" })
  })
})

describe("layer", () => {
  it.effect("is make, as a service", () =>
    Effect.gen(function* () {
      const config = yield* TokenConfig.TokenConfig
      expect(config).toEqual(made({ refreshGrace: 1 }))
    }).pipe(Effect.provide(TokenConfig.layer({ refreshGrace: 1 })))
  )

  it.effect("fails as make does, and has the defaults where nothing is said", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.either(Layer.build(TokenConfig.layer({ refreshGrace: -1 })))
      expect(problem(failed)).toMatchObject({ path: ["refreshGrace"] })
      expect(yield* Effect.provide(TokenConfig.TokenConfig, TokenConfig.layer())).toEqual(made())
    }).pipe(Effect.scoped)
  )
})

describe("layerConfig", () => {
  const ttl = "AUTH__CREDENTIALS_TTL_SECONDS"
  const grace = "AUTH__REFRESH_GRACE_SECONDS"

  const configured = (variables: Record<string, string>, options?: TokenConfig.Options) =>
    TokenConfig.TokenConfig.pipe(
      Effect.provide(TokenConfig.layerConfig(options)),
      Edition.withVariables(variables)
    )

  it.effect("reads seconds under the original's names", () =>
    Effect.gen(function* () {
      expect(yield* configured({ [ttl]: "7", [grace]: "11.5" })).toEqual(
        made({ credentialsTtl: 7000, refreshGrace: 11_500 })
      )
      expect(yield* configured({ [ttl]: " 0 ", [grace]: "1e3" })).toEqual(
        made({ credentialsTtl: 0, refreshGrace: 1_000_000 })
      )
    })
  )

  it.effect("has the defaults, or what the program says, where a variable is absent", () =>
    Effect.gen(function* () {
      expect(yield* configured({})).toEqual(made())
      const options = { credentialsTtl: 1, refreshGrace: 2, statusTtl: 3 }
      expect(yield* configured({}, options)).toEqual(made(options))
      expect(yield* configured({ [grace]: "5" }, options)).toEqual(made({ ...options, refreshGrace: 5000 }))
      expect(yield* configured({ [ttl]: "5" }, options)).toEqual(made({ ...options, credentialsTtl: 5000 }))
    })
  )

  it.effect.each(
    [ttl, grace].flatMap((name) =>
      ["", "  ", "soon", "5s", "5,5", "NaN", "-1", "-0.001", "Infinity", "-Infinity", "1e999"].map(
        (value) => [name, value] as const
      )
    )
  )("%s=%j is an error that names it, never the default", ([name, value]) =>
    Effect.gen(function* () {
      const found = problem(yield* Effect.either(configured({ [name]: value })))
      expect(found).toEqual({
        path: [name],
        message: `${name} must be a number of seconds, finite and not negative; it is ${JSON.stringify(value)}`
      })
    })
  )

  it.effect("cuts a long value in the error", () =>
    Effect.gen(function* () {
      const found = problem(yield* Effect.either(configured({ [ttl]: "x".repeat(1000) })))
      expect(found).toMatchObject({ message: expect.stringMatching(/it is "x{40}"$/) })
    })
  )

  it.effect("fails as make does on what the program says", () =>
    Effect.gen(function* () {
      const found = problem(
        yield* Effect.either(configured({ [ttl]: "1" }, { refreshTimeout: 2, leaseTtl: 1 }))
      )
      expect(found).toMatchObject({ path: ["leaseTtl"] })
    })
  )
})
