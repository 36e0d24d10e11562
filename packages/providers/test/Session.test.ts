/** A session from configuration alone: what it reads, what it refuses, and that it works. */
import { describe, expect, it } from "@effect/vitest"
import { HttpClient } from "@effect/platform"
import { RotationPolicy, TokenManager } from "@latchkey/core"
import { Fault, HostileServer, Rotation } from "@latchkey/oauth/testing"
import { Session } from "@latchkey/providers"
import { Effect, Either, Layer, Option, Redacted, TestClock } from "effect"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import * as Edition from "../../core/test/support/Edition.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "latchkey-session-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

type Variables = Readonly<Record<string, string>>

const env = (variables: Variables) => Edition.layerVariables(variables)

const read = (variables: Variables, prefix?: string) =>
  Effect.runSync(Effect.either(Effect.provide(Session.settings(prefix), env(variables))))

const least = {
  OAUTH_ISSUER: "https://id.example.com",
  OAUTH_CLIENT_ID: "app",
  OAUTH_CREDENTIALS_FILE: "c.json"
}

const without = (name: keyof typeof least): Variables =>
  Object.fromEntries(Object.entries(least).filter(([key]) => key !== name))

/** The variables of a program that logs nobody in. */
const machine = {
  OAUTH_ISSUER: HostileServer.issuer,
  OAUTH_CLIENT_ID: "app",
  OAUTH_CLIENT_SECRET: "hush",
  OAUTH_GRANT: "client_credentials"
}

describe("the settings", () => {
  it("of a public client are three variables", () => {
    expect(Either.getOrThrow(read(least))).toEqual({
      server: { issuer: "https://id.example.com" },
      client: { clientId: "app" },
      grant: "refresh_token",
      scopes: [],
      file: "c.json"
    })
  })

  it("say whether a file is accepted that others may read (F17)", () => {
    const found = read({ ...least, OAUTH_CREDENTIALS_EXPOSED: "accept" })
    expect(Either.getOrThrow(found).exposed).toBe("accept")
    const wrong = Either.flip(read({ ...least, OAUTH_CREDENTIALS_EXPOSED: "yes, of course" }))
    expect(String(Either.getOrThrow(wrong))).toContain(
      "OAUTH_CREDENTIALS_EXPOSED is neither refuse nor accept"
    )
  })

  it("take endpoints, a secret, scopes and a prefix, and show no secret", () => {
    const found = read(
      {
        GITHUB_TOKEN_ENDPOINT: "https://id.example.com/token",
        GITHUB_CLIENT_ID: "app",
        GITHUB_CLIENT_SECRET: "hush",
        GITHUB_CLIENT_AUTH: "post",
        GITHUB_GRANT: "client_credentials",
        GITHUB_SCOPES: "  read  write ",
        GITHUB_CREDENTIALS_FILE: "g.json"
      },
      "GITHUB_"
    )
    expect(Either.getOrThrow(found)).toMatchObject({
      server: { tokenEndpoint: "https://id.example.com/token" },
      client: { clientId: "app", auth: { _tag: "ClientSecretPost" } },
      grant: "client_credentials",
      scopes: ["read", "write"]
    })
    expect(inspect(found, { depth: 20, showHidden: true })).not.toContain("hush")
  })

  it.each<[string, Variables]>([
    ["OAUTH_CLIENT_ID", without("OAUTH_CLIENT_ID")],
    ["OAUTH_CLIENT_ID", { ...least, OAUTH_CLIENT_ID: " " }],
    ["OAUTH_ISSUER", without("OAUTH_ISSUER")],
    ["OAUTH_ISSUER", { ...least, OAUTH_ISSUER: "" }],
    ["OAUTH_CREDENTIALS_FILE", { ...least, OAUTH_CREDENTIALS_FILE: "" }],
    ["OAUTH_CLIENT_AUTH", { ...least, OAUTH_CLIENT_AUTH: "magic" }],
    ["OAUTH_GRANT", { ...least, OAUTH_GRANT: "password" }],
    ["OAUTH_CLIENT_SECRET", { ...least, OAUTH_GRANT: "client_credentials" }],
    ["OAUTH_CLIENT_SECRET", { ...least, OAUTH_CLIENT_SECRET: "" }]
  ])("name %s where it is missing or wrong", (name, variables) => {
    expect(String(Either.getOrThrow(Either.flip(read(variables))))).toContain(name)
  })

  it("need no file for a grant that needs no login, and one for every other (F45)", () => {
    expect(Either.getOrThrow(read(machine))).not.toHaveProperty("file")
    expect(Either.getOrThrow(read({ ...machine, OAUTH_CREDENTIALS_FILE: "m.json" })).file).toBe("m.json")
    for (const grant of [{}, { OAUTH_GRANT: "refresh_token" }]) {
      const error = Either.flip(read({ ...without("OAUTH_CREDENTIALS_FILE"), ...grant }))
      expect(String(Either.getOrThrow(error))).toContain("Give OAUTH_CREDENTIALS_FILE")
    }
    const blank = Either.flip(read({ ...machine, OAUTH_CREDENTIALS_FILE: " " }))
    expect(String(Either.getOrThrow(blank))).toContain("OAUTH_CREDENTIALS_FILE is blank")
  })

  it("send a secret raw, take a token type for granted, and let metadata name private addresses, where asked", () => {
    const more = {
      OAUTH_CLIENT_SECRET: "hush",
      OAUTH_CLIENT_AUTH: "basic_raw",
      OAUTH_TOKEN_TYPE: "Bearer",
      OAUTH_ALLOW_PRIVATE_ENDPOINTS: "true"
    }
    expect(Either.getOrThrow(read({ ...least, ...more }))).toMatchObject({
      server: { issuer: "https://id.example.com", allowPrivateEndpoints: true },
      client: { clientId: "app", auth: { _tag: "ClientSecretBasicRaw" } },
      defaultTokenType: "Bearer"
    })
    expect(String(read({ ...least, OAUTH_ALLOW_PRIVATE_ENDPOINTS: "yes" }))).toContain(
      "OAUTH_ALLOW_PRIVATE_ENDPOINTS is neither false nor true"
    )
  })

  it("refuse ALLOW_PRIVATE_ENDPOINTS beside a token endpoint, where it has no effect", () => {
    const endpoint = { ...least, OAUTH_TOKEN_ENDPOINT: "https://10.0.0.7/token" }
    const error = Either.flip(read({ ...endpoint, OAUTH_ALLOW_PRIVATE_ENDPOINTS: "true" }))
    expect(String(Either.getOrThrow(error))).toContain(
      "OAUTH_ALLOW_PRIVATE_ENDPOINTS has no effect with OAUTH_TOKEN_ENDPOINT"
    )
    const allowed = read({ ...endpoint, OAUTH_ALLOW_PRIVATE_ENDPOINTS: "false" })
    expect(Either.getOrThrow(allowed).server).toEqual({
      tokenEndpoint: "https://10.0.0.7/token",
      issuer: "https://id.example.com"
    })
  })

  it("take the replay window of a server that rotates, in seconds", () => {
    const window = (text: string) => read({ ...least, OAUTH_ROTATION_WINDOW_SECONDS: text })
    expect(Either.getOrThrow(window("30")).rotation).toEqual(RotationPolicy.rotating("30 seconds"))
    expect(Either.getOrThrow(window("0")).rotation).toEqual(RotationPolicy.rotating())
    expect(Either.getOrThrow(read(least))).not.toHaveProperty("rotation")
    for (const text of ["", " ", "-1", "NaN", "Infinity", "30 seconds"]) {
      const error = String(Either.getOrThrow(Either.flip(window(text))))
      expect(error).toContain("OAUTH_ROTATION_WINDOW_SECONDS must be a number of seconds")
    }
    const independent = Either.flip(read({ ...machine, OAUTH_ROTATION_WINDOW_SECONDS: "30" }))
    expect(String(Either.getOrThrow(independent))).toContain(
      "OAUTH_ROTATION_WINDOW_SECONDS has no effect with OAUTH_GRANT client_credentials"
    )
  })

  it("name all that is missing at once", () => {
    const problem = String(Either.getOrThrow(Either.flip(read({}))))
    for (const name of Object.keys(least)) expect(problem).toContain(name)
  })

  it.each(["OAUTH_CLIENT_AUTH", "OAUTH_GRANT", "OAUTH_ROTATION_WINDOW_SECONDS"])(
    "do not quote a secret that came into %s",
    (name) => {
      const error = Either.getOrThrow(Either.flip(read({ ...least, [name]: "hush-hush" })))
      expect(inspect(error, { depth: 20, showHidden: true })).not.toContain("hush")
    }
  )
})

class Second extends TokenManager.Tag("test/Second")<Second>() {}

describe("the layer", () => {
  it.scoped("keeps the grant in the file and refreshes it at the server", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "credentials.json")
      const { client, control } = yield* HostileServer.make()
      const session = Session.layerConfig({ provider: "example" }).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
        Layer.provide(env({ ...least, OAUTH_ISSUER: HostileServer.issuer, OAUTH_CREDENTIALS_FILE: file }))
      )
      yield* Effect.gen(function* () {
        const manager = yield* TokenManager.TokenManager
        const first = yield* control.issueGrant()
        yield* manager.save(first)
        expect(statSync(file).mode & 0o777).toBe(0o600)
        const second = yield* manager.refresh
        expect(Redacted.value(second)).not.toBe(Redacted.value(first.accessToken))
        expect(Option.getOrThrow(yield* manager.snapshot).provider).toBe("example")
      }).pipe(Effect.provide(session))
    })
  )

  it.scoped("repeats a refresh whose answer was lost only within the window", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const refreshes = (variables: Variables) =>
        Effect.gen(function* () {
          const { client, control } = yield* HostileServer.make({ rotation: Rotation.samePair("1 minute") })
          const session = Session.layerConfig().pipe(
            Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
            Layer.provide(env({ ...least, OAUTH_ISSUER: HostileServer.issuer, ...variables }))
          )
          yield* Effect.gen(function* () {
            const manager = yield* TokenManager.TokenManager
            yield* manager.save(yield* control.issueGrant())
            yield* control.faultAt(1, Fault.lostAnswer)
            yield* TestClock.adjust("59 minutes")
            yield* manager.getAccessToken
            yield* TestClock.adjust("10 seconds")
            yield* manager.getAccessToken
          }).pipe(Effect.provide(session))
          return (yield* control.counts).refreshes
        })
      const strict = { OAUTH_CREDENTIALS_FILE: join(path, "strict.json") }
      const lenient = {
        OAUTH_CREDENTIALS_FILE: join(path, "lenient.json"),
        OAUTH_ROTATION_WINDOW_SECONDS: "60"
      }
      expect([yield* refreshes(strict), yield* refreshes(lenient)]).toEqual([1, 2])
    })
  )

  it.scoped("of client credentials is kept in memory where no file is named, and writes nothing (F45)", () =>
    Effect.gen(function* () {
      const { client, control } = yield* HostileServer.make()
      const session = Session.layerConfig().pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
        Layer.provide(env(machine))
      )
      yield* Effect.gen(function* () {
        const manager = yield* TokenManager.TokenManager
        expect(manager.location).toBe("memory")
        const first = yield* manager.getAccessToken
        expect(Redacted.value(yield* manager.getAccessToken)).toBe(Redacted.value(first))
        expect(Redacted.value(yield* manager.reject(first))).not.toBe(Redacted.value(first))
      }).pipe(Effect.provide(session))
      expect((yield* control.counts).byEndpoint.token).toBe(2)
    })
  )

  it.scoped("of client credentials needs no login, and each of several is its own", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { client, control } = yield* HostileServer.make()
      const of = (prefix: string) => ({
        [`${prefix}TOKEN_ENDPOINT`]: HostileServer.server.tokenEndpoint,
        [`${prefix}CLIENT_ID`]: "app",
        [`${prefix}CLIENT_SECRET`]: "hush",
        [`${prefix}GRANT`]: "client_credentials",
        [`${prefix}CREDENTIALS_FILE`]: join(path, `${prefix}.json`)
      })
      const sessions = Layer.merge(
        Session.layerConfig(),
        Session.layerConfigFor(Second, { prefix: "SECOND_" })
      ).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
        Layer.provide(env({ ...of("OAUTH_"), ...of("SECOND_") }))
      )
      const tokens = yield* Effect.gen(function* () {
        const managers = [yield* TokenManager.TokenManager, yield* Second]
        return yield* Effect.forEach(managers, ({ getAccessToken }) =>
          Effect.map(getAccessToken, Redacted.value)
        )
      }).pipe(Effect.provide(sessions))
      expect(new Set(tokens).size).toBe(2)
      expect((yield* control.counts).byEndpoint.token).toBe(2)
    })
  )
})
