/**
 * Logins to the providers, as their servers require. The tests of oauth cover what all logins have in common.
 */
import { describe, expect, it } from "@effect/vitest"
import { Decision, Entry } from "@latchkey/core"
import { Login, Provider, Revoke } from "@latchkey/providers"
import { Effect, Either, Fiber, Option, Redacted, TestClock } from "effect"
import * as Http from "node:http"
import { answering, type Reply } from "../../oauth/test/Memory.js"
import {
  account,
  atNow,
  builtIn,
  claude,
  codex,
  copilot,
  home,
  jwt,
  now,
  nowSeconds,
  own
} from "./support/world.js"

const claudeAnswer: Reply = {
  body: {
    access_token: "at",
    refresh_token: "rt",
    expires_in: 3600,
    scope: "user:profile",
    subscription_type: "max"
  }
}

const parameters = (url: URL) => Object.fromEntries(url.searchParams)

/** What a user pastes, given what the URL asked for. */
const pasting = (paste: (asked: Record<string, string>) => string) => {
  const urls: Array<URL> = []
  const ask = (url: URL) => Effect.sync(() => (urls.push(url), paste(parameters(url))))
  return { ask, urls }
}

describe("Claude login", () => {
  it.effect("by hand: code#state is pasted, and redeemed in JSON together with the state", () => {
    const { asked, layer } = answering(claudeAnswer)
    const { ask, urls } = pasting(({ state }) => `code-1#${state}`)
    return Effect.gen(function* () {
      yield* atNow
      const credentials = yield* Login.manual(claude, { ask })
      const url = urls[0]!
      expect(url.origin + url.pathname).toBe("https://claude.com/cai/oauth/authorize")
      const sent = parameters(url)
      expect(sent).toMatchObject({
        code: "true",
        client_id: "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        redirect_uri: "https://platform.claude.com/oauth/code/callback",
        scope:
          "org:create_api_key user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload",
        code_challenge_method: "S256"
      })
      expect(asked[0]!.headers["content-type"]).toBe("application/json")
      expect(JSON.parse(asked[0]!.body)).toEqual({
        grant_type: "authorization_code",
        code: "code-1",
        state: sent["state"],
        redirect_uri: sent["redirect_uri"],
        client_id: sent["client_id"],
        code_verifier: expect.any(String)
      })
      expect(credentials).toMatchObject({
        tokenType: "Bearer",
        expiresAt: Option.some(now + 3_600_000),
        scopes: ["user:profile"]
      })

      // What it brought is written as Claude Code reads it.
      const { path, theirs } = yield* home()
      const { storage } = yield* own(claude, path)
      yield* storage.commit(Entry.first(credentials), Option.none())
      expect(theirs()).toEqual({
        claudeAiOauth: {
          accessToken: "at",
          refreshToken: "rt",
          expiresAt: now + 3_600_000,
          scopes: ["user:profile"],
          subscriptionType: "max"
        }
      })
    }).pipe(Effect.provide(layer), Effect.scoped)
  })

  it.effect.each([
    ["another state", "code-1#other", "StateMismatch"],
    ["nothing", " ", "Cancelled"],
    ["an error", "error=access_denied&state=", "Denied"]
  ] as const)("by hand: %s is told, and nothing is sent", ([_, pasted, reason]) => {
    const { asked, layer } = answering(claudeAnswer)
    const { ask } = pasting(({ state }) => (pasted.endsWith("state=") ? pasted + state : pasted))
    return Effect.gen(function* () {
      const error = yield* Effect.flip(Login.manual(claude, { ask }))
      expect(error).toMatchObject({ _tag: "LoginError", reason })
      expect(asked).toHaveLength(0)
    }).pipe(Effect.provide(layer))
  })

  it.live("in the browser: the answer comes to the loopback address", () => {
    const { asked, layer } = answering(claudeAnswer)
    // Not `fetch`, which says that it is no navigation.
    const openUrl = (url: URL) =>
      Effect.async<void>((resume) => {
        const { redirect_uri, state } = parameters(url)
        Http.get(`${redirect_uri}?code=code-1&state=${state}`, (response) => {
          response.resume().once("end", () => resume(Effect.void))
        })
      })
    return Effect.gen(function* () {
      const credentials = yield* Login.browser(claude, { openUrl })
      expect(Redacted.value(credentials.accessToken)).toBe("at")
      const sent = JSON.parse(asked[0]!.body)
      expect(sent.redirect_uri).toMatch(/^http:\/\/localhost:\d+\/callback$/)
      expect(sent).toHaveProperty("state")
    }).pipe(Effect.provide(layer))
  })
})

describe("Codex login", () => {
  const login = (claims: (nonce: string) => object) => {
    let nonce = ""
    const { ask, urls } = pasting((sent) => {
      nonce = sent["nonce"] ?? ""
      return `http://localhost:1455/auth/callback?code=c&state=${sent["state"]}`
    })
    const { asked, layer } = answering(() => ({
      body: {
        access_token: jwt({ exp: nowSeconds + 4000 }),
        refresh_token: "rt",
        id_token: jwt(claims(nonce)),
        expires_in: 1
      }
    }))
    return Effect.gen(function* () {
      yield* atNow
      return { asked, urls, result: yield* Effect.either(Login.manual(codex, { ask })) }
    }).pipe(Effect.provide(layer))
  }

  it.effect("takes the account from its claim, never the subject; the expiry from the token (6)", () =>
    Effect.gen(function* () {
      const { asked, result, urls } = yield* login((nonce) => ({ sub: "user-1", nonce, ...account }))
      expect(result).toMatchObject({
        _tag: "Right",
        right: { accountId: Option.some("acct-1"), expiresAt: Option.some(now + 4_000_000) }
      })
      expect(parameters(urls[0]!)["redirect_uri"]).toBe("http://localhost:1455/auth/callback")
      expect(new URLSearchParams(asked[0]!.body).get("grant_type")).toBe("authorization_code")
    })
  )

  it.effect("without the claim there is no account", () =>
    Effect.gen(function* () {
      const { result } = yield* login((nonce) => ({ sub: "user-1", nonce }))
      expect(result).toMatchObject({ _tag: "Right", right: { accountId: Option.none() } })
    })
  )

  it.effect("an id token of another login is refused", () =>
    Effect.gen(function* () {
      const { result } = yield* login(() => ({ sub: "user-1", nonce: "other" }))
      expect(result).toMatchObject({ _tag: "Left", left: { _tag: "LoginError", reason: "Malformed" } })
    })
  )
})

describe("Copilot login", () => {
  const device: Reply = {
    body: {
      device_code: "dc",
      user_code: "ABCD-1234",
      verification_uri: "https://github.com/login/device",
      expires_in: 900,
      interval: 5
    }
  }
  const github: Reply = { body: { access_token: "gho-1", token_type: "bearer", scope: "read:user" } }
  const service = { token: "service-1", expires_at: nowSeconds + 1800, refresh_in: 1500 }

  const login = (exchange: Reply) => {
    const { asked, layer } = answering(device, { body: { error: "authorization_pending" } }, github, exchange)
    const codes: Array<string> = []
    return Effect.gen(function* () {
      yield* atNow
      const prompt = ({ userCode }: { userCode: string }) => Effect.sync(() => void codes.push(userCode))
      const fiber = yield* Effect.fork(Effect.either(Login.device(copilot, { prompt })))
      yield* TestClock.adjust("5 seconds")
      yield* TestClock.adjust("5 seconds")
      return { asked, codes, result: yield* Fiber.join(fiber) }
    }).pipe(Effect.provide(layer))
  }

  it.effect("by device: GitHub's token, and with it the service token", () =>
    Effect.gen(function* () {
      const { asked, codes, result } = yield* login({ body: service })
      expect(codes).toEqual(["ABCD-1234"])
      expect(asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
        "POST https://github.com/login/device/code",
        "POST https://github.com/login/oauth/access_token",
        "POST https://github.com/login/oauth/access_token",
        "GET https://api.github.com/copilot_internal/v2/token"
      ])
      expect(asked[3]!.headers["authorization"]).toBe("Bearer gho-1")
      const credentials = Either.getOrThrow(result)
      expect(Redacted.value(credentials.accessToken)).toBe("service-1")
      expect(Option.map(credentials.refreshToken, Redacted.value)).toEqual(Option.some("gho-1"))
      expect(credentials).toMatchObject({
        scopes: ["read:user"],
        expiresAt: Option.some(now + 1_800_000),
        refreshAt: Option.some(now + 1_510_000)
      })
    })
  )

  it.effect("stands where the service token cannot be had now: the first refresh gets it", () =>
    Effect.gen(function* () {
      const { result } = yield* login({ status: 503 })
      const credentials = Either.getOrThrow(result)
      expect(Option.map(credentials.refreshToken, Redacted.value)).toEqual(Option.some("gho-1"))
      expect(Decision.isExpired(credentials, now + 10_000)).toBe(true)
    })
  )

  it.effect("fails where the account has no Copilot", () =>
    Effect.gen(function* () {
      const { result } = yield* login({ status: 403, body: { message: "no seat" } })
      expect(result).toMatchObject({
        _tag: "Left",
        left: { _tag: "LoginError", reason: "Misconfigured", status: 403 }
      })
    })
  )
})

describe("what is not offered", () => {
  it.effect("is told with what is: ways to log in, revocation", () =>
    Effect.gen(function* () {
      const { asked, layer } = answering({})
      const attempt = Login.device(claude, { prompt: () => Effect.void }).pipe(Effect.provide(layer))
      const error = yield* Effect.flip(attempt)
      expect(error).toMatchObject({ _tag: "ProviderError", reason: "NotOffered", provider: "claude" })
      expect(error.message).toContain("use browser or pasting the code")
      expect(Revoke.isOffered(claude)).toBe(false)
      const revoke = yield* Effect.flip(Effect.provide(Revoke.make(claude), layer))
      expect(revoke).toMatchObject({ reason: "NotOffered" })
      expect(revoke.message).toContain("end the grant in the account's settings")
      expect(asked).toHaveLength(0)
    })
  )

  const acme = Either.getOrThrow(
    Provider.fromSettings("acme", {
      server: {
        tokenEndpoint: "https://id.acme.example/token",
        revocationEndpoint: "https://id.acme.example/revoke"
      },
      client: { id: "app", secret: "app-secret", authentication: "post" },
      scopes: ["read"],
      login: { ways: ["clientCredentials"] },
      refresh: { by: "clientCredentials" }
    })
  )

  it.effect("a provider of the user's own: client credentials, and revocation", () => {
    const { asked, layer } = answering({ body: { access_token: "at", token_type: "Bearer", expires_in: 60 } })
    return Effect.gen(function* () {
      const credentials = yield* Login.clientCredentials(acme)
      yield* (yield* Revoke.make(acme)).revoke(credentials)
      expect(asked.map(({ url }) => url)).toEqual([
        "https://id.acme.example/token",
        "https://id.acme.example/revoke"
      ])
      expect(Object.fromEntries(new URLSearchParams(asked[0]!.body))).toEqual({
        grant_type: "client_credentials",
        scope: "read",
        client_id: "app",
        client_secret: "app-secret"
      })
    }).pipe(Effect.provide(layer))
  })

  it.effect("Google by its discovery: offline access is asked for in its way", () => {
    const issuer = "https://accounts.google.com"
    const { asked, layer } = answering(
      {
        body: {
          issuer,
          authorization_endpoint: `${issuer}/o/oauth2/v2/auth`,
          token_endpoint: "https://oauth2.googleapis.com/token"
        }
      },
      { status: 400, body: { error: "invalid_grant" } }
    )
    const { ask, urls } = pasting(({ state }) => `code#${state}`)
    return Effect.gen(function* () {
      const client = { clientId: "app", authentication: "post" as const, secret: Redacted.make("s") }
      const google = new Provider.Provider({ ...builtIn("google"), client })
      const error = yield* Effect.flip(Login.manual(google, { ask }))
      expect(error).toMatchObject({ _tag: "LoginError", reason: "Expired" })
      expect(asked[0]!.url).toBe(`${issuer}/.well-known/openid-configuration`)
      expect(parameters(urls[0]!)).toMatchObject({ access_type: "offline", prompt: "consent" })
      expect(parameters(urls[0]!)["nonce"]).toMatch(/^.{20,}$/)
    }).pipe(Effect.provide(layer))
  })
})
