/**
 * Logins that bring no refresh token, at a real server with its own rules and with the parameters for other
 * servers.
 */
import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Credentials } from "@latchkey/core"
import { AuthorizationCode, DeviceLogin, type LoginEvent, ManualLogin, RefreshToken } from "@latchkey/oauth"
import { Effect, Option, TestClock } from "effect"
import { missing } from "../src/internal/offlineAccess.js"
import { answering } from "./Memory.js"
import * as Provider from "./Provider.js"
import { consent } from "./support/interaction.js"
import * as Edition from "../../core/test/support/Edition.js"

const features = { devInteractions: { enabled: true }, pushedAuthorizationRequests: { enabled: false } }

/** A login by a user who consents to everything, with the events that it reported. */
const login = (server: Provider.Harness, over: Partial<ManualLogin.Options>) =>
  Effect.gen(function* () {
    const events: Array<LoginEvent.LoginEvent> = []
    const credentials = yield* ManualLogin.login({
      server: { issuer: server.issuer },
      client: { clientId: "public-client" },
      ask: (url) => Effect.map(consent(url), (end) => end.href),
      onEvent: (event) => Effect.sync(() => void events.push(event)),
      ...over
    })
    return { credentials, events }
  })

describe("at a real server with the rules of OpenID Connect Core §11 (F37)", () => {
  it.scopedLive("offline_access brings a refresh token, since consent is asked for by itself", () =>
    Effect.gen(function* () {
      const server = yield* Provider.start({ features })
      const { credentials, events } = yield* login(server, { scopes: ["openid", "offline_access"] })
      expect(events).toEqual([])
      expect(Option.isSome(credentials.refreshToken)).toBe(true)
      const refresher = yield* RefreshToken.make({
        server: { issuer: server.issuer },
        client: { clientId: "public-client" }
      })
      yield* refresher.refresh(Option.some(credentials))
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.scopedLive.each<readonly [string, Partial<ManualLogin.Options>, ReadonlyArray<string>, object]>([
    ["without the scope", { scopes: ["openid"] }, ["offline_access"], { prompt: "consent" }],
    [
      "without consent",
      { scopes: ["openid", "offline_access"], promptForConsent: false },
      [],
      { prompt: "consent" }
    ],
    [
      "with another prompt",
      { scopes: ["openid", "offline_access"], authorizationParameters: { prompt: "login" } },
      [],
      { prompt: "consent" }
    ]
  ])("%s there is none, which is reported at once with what to add", ([, over, scopes, parameters]) =>
    Effect.gen(function* () {
      const server = yield* Provider.start({ features })
      const { credentials, events } = yield* login(server, over)
      expect(credentials.refreshToken).toEqual(Option.none())
      expect(events).toMatchObject([{ _tag: "NoRefreshToken", scopes, parameters }])
      const [event] = events
      expect(event!.message).toContain("prompt=consent")
      expect(event!.message).toMatch(/at \d{4}-\d\d-\d\dT/)
      // What it says helps.
      const again = yield* login(server, {
        scopes: [...over.scopes!, ...scopes],
        authorizationParameters: parameters as Record<string, string>
      })
      expect(again.events).toEqual([])
      expect(Option.isSome(again.credentials.refreshToken)).toBe(true)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})

describe("consent is asked for with offline_access", () => {
  const promptAt = (over: Partial<AuthorizationCode.Options>, endpoint = "https://id.example.com/auth") =>
    AuthorizationCode.begin(
      {
        server: { authorizationEndpoint: endpoint, tokenEndpoint: "https://id.example.com/token" },
        client: { clientId: "c" },
        scopes: ["openid", "offline_access"],
        ...over
      },
      "http://127.0.0.1/callback"
    ).pipe(
      Effect.map(({ url }) => url.searchParams.getAll("prompt")),
      Effect.provide(answering({}).layer)
    )

  it.effect("unless a prompt is given, it is switched off, or there is no such scope", () =>
    Effect.gen(function* () {
      expect(yield* promptAt({})).toEqual(["consent"])
      expect(yield* promptAt({ scopes: ["offline_access"] })).toEqual(["consent"])
      expect(yield* promptAt({ authorizationParameters: { prompt: "login" } })).toEqual(["login"])
      expect(yield* promptAt({ authorizationParameters: { login_hint: "a" } })).toEqual(["consent"])
      expect(yield* promptAt({ promptForConsent: false })).toEqual([])
      expect(yield* promptAt({ scopes: ["openid"] })).toEqual([])
      expect(yield* promptAt({ scopes: undefined })).toEqual([])
    })
  )

  it.effect.each([
    ["https://login.microsoftonline.com/common/oauth2/v2.0/authorize", false],
    ["https://login.microsoftonline.us/t/authorize", false],
    ["https://tenant.b2clogin.com/authorize", false],
    ["https://tenant.eu.auth0.com/authorize", false],
    ["https://dev-1.okta.com/oauth2/v1/authorize", false],
    ["https://okta.com.evil.example/authorize", true],
    ["https://notauth0.com/authorize", true]
  ] as const)("at %s: %s", ([endpoint, asked]) =>
    Effect.gen(function* () {
      expect(yield* promptAt({}, endpoint)).toEqual(asked ? ["consent"] : [])
      expect(yield* promptAt({ promptForConsent: true }, endpoint)).toEqual(["consent"])
    })
  )

  it.effect("not where the server's metadata names the prompts that it knows, without it", () =>
    Effect.gen(function* () {
      const discovered = (prompts: unknown) =>
        AuthorizationCode.begin(
          { server: { issuer: "https://a.example" }, client: { clientId: "c" }, scopes: ["offline_access"] },
          "http://127.0.0.1/callback"
        ).pipe(
          Effect.map(({ url }) => url.searchParams.get("prompt")),
          Effect.provide(
            answering({
              body: {
                issuer: "https://a.example",
                authorization_endpoint: "https://a.example/auth",
                prompt_values_supported: prompts
              }
            }).layer
          )
        )
      expect(yield* discovered(["none", "login"])).toBe(null)
      expect(yield* discovered(["none", "consent"])).toBe("consent")
      expect(yield* discovered(null)).toBe("consent")
    })
  )
})

describe("what is missing", () => {
  const without = Credentials.make({ accessToken: "a" })
  const asked = (endpoint: string, scopes: ReadonlyArray<string> = [], parameters = {}) => ({
    endpoint,
    scopes,
    parameters
  })
  const google = "https://accounts.google.com/o/oauth2/v2/auth"
  const entra = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
  const other = "https://id.example.com/auth"

  it.each<readonly [string, ReturnType<typeof asked>, object]>([
    ["Google", asked(google), { scopes: [], parameters: { access_type: "offline", prompt: "consent" } }],
    [
      "Google, half asked",
      asked(google, ["openid"], { access_type: "offline", prompt: "select_account" }),
      { scopes: [], parameters: { prompt: "consent" } }
    ],
    [
      "Google, asked in full",
      asked(google, [], { access_type: "offline", prompt: "select_account consent" }),
      { scopes: [], parameters: {} }
    ],
    ["Entra", asked(entra, ["openid"]), { scopes: ["offline_access"], parameters: {} }],
    ["Entra, asked", asked(entra, ["offline_access"]), { scopes: [], parameters: {} }],
    ["OpenID", asked(other, ["openid"]), { scopes: ["offline_access"], parameters: { prompt: "consent" } }],
    ["another server", asked(other, ["api"]), { scopes: [], parameters: {} }]
  ])("is said in the way of the server: %s", (_, request, wanted) => {
    const event = Option.getOrThrow(missing(request, without, undefined))
    expect(event).toMatchObject({ _tag: "NoRefreshToken", ...wanted })
    expect(event.message).toContain("no refresh token")
  })

  it("is nothing where there is a refresh token, or none is expected", () => {
    const given = Credentials.make({ accessToken: "a", refreshToken: "r" })
    expect(missing(asked(other, ["openid"]), given, undefined)).toEqual(Option.none())
    expect(missing(asked(other, ["openid"]), without, false)).toEqual(Option.none())
    expect(missing(asked("https://github.com/login/oauth/authorize"), without, undefined)).toEqual(
      Option.none()
    )
    expect(Option.isSome(missing(asked("https://github.com/login"), without, true))).toBe(true)
  })

  it.effect("is logged unless somebody takes the events, and reported by a login on a device too", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Edition.logging(({ message }) => void lines.push(String(message)))
      const { layer } = answering(
        {
          body: {
            device_code: "d",
            user_code: "u",
            verification_uri: "https://id.example.com/d",
            expires_in: 60
          }
        },
        { body: { access_token: "secret-at", token_type: "Bearer" } }
      )
      const fiber = yield* Effect.fork(
        DeviceLogin.login({
          server: {
            tokenEndpoint: "https://id.example.com/token",
            deviceAuthorizationEndpoint: "https://id.example.com/device"
          },
          client: { clientId: "c" },
          scopes: ["openid"],
          prompt: () => Effect.void
        }).pipe(Effect.provide(layer), logger)
      )
      yield* TestClock.adjust("10 seconds")
      yield* fiber
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain("the scope offline_access.")
      expect(lines[0]).not.toMatch(/prompt|secret-at/)
    })
  )
})
