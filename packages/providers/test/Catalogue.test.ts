/** The catalogue's servers, each played by a small server that behaves as the source of its facts says. */
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Credentials } from "@latchkey/core"
import { Catalogue, Provider } from "@latchkey/providers"
import { Clock, Duration, Effect, Either, Layer, Option, Redacted, TestClock } from "effect"
import * as Http from "../../oauth/src/edition/Http.js"
import { inMemory, now } from "./support/world.js"

const minute = 60_000
const hour = 60 * minute

interface Played {
  readonly item: Catalogue.Item
  /** For how long a used refresh token gives its answer again, in milliseconds. */
  readonly window: number
  /** How the server says that a refresh token is not valid. */
  readonly refuses: { readonly status: number; readonly body: unknown }
  /** What it adds to an answer, or writes in its own way. Undefined leaves a field out. */
  readonly answers?: Readonly<Record<string, unknown>>
  /** What a request must have. */
  readonly asks?: {
    readonly json?: true
    readonly basic?: true
    readonly parameters?: Record<string, string>
  }
  readonly scopes?: ReadonlyArray<string>
}

const standard = { status: 400, body: { error: "invalid_grant" } }
const tenant = (item: Catalogue.Item, server: object): Catalogue.Item => ({
  ...item,
  settings: { ...item.settings, server: { tokenEndpoint: "https://id.example.com/token", ...server } }
})

const played: Readonly<Record<string, Played>> = {
  linear: {
    item: Catalogue.linear,
    window: 30 * minute,
    refuses: standard,
    answers: { scope: "read,write", expires_in: 86_399 },
    scopes: ["read", "write"]
  },
  bitbucket: {
    item: Catalogue.bitbucket,
    window: 10 * minute,
    refuses: standard,
    answers: { access_token: "at-".padEnd(2600, "x"), scopes: "repository" },
    asks: { basic: true }
  },
  atlassian: {
    item: Catalogue.atlassian,
    window: 10 * minute,
    refuses: {
      status: 403,
      body: { error: "unauthorized_client", error_description: "Unknown or invalid refresh token." }
    },
    asks: { parameters: { client_secret: "s" } }
  },
  slack: {
    item: Catalogue.slack,
    window: 0,
    refuses: { status: 200, body: { ok: false, error: "invalid_refresh_token" } },
    answers: { ok: true, token_type: "bot", scope: "chat:write,users:read", team: { id: "T1" } },
    scopes: ["chat:write", "users:read"]
  },
  salesforce: {
    item: Catalogue.salesforce,
    window: 0,
    refuses: {
      status: 400,
      body: { error: "invalid_grant", error_description: "expired access/refresh token" }
    },
    answers: { expires_in: undefined, issued_at: `${now}`, id: "https://login.salesforce.com/id/00D/005" }
  },
  hubspot: {
    item: Catalogue.hubspot,
    window: Infinity,
    refuses: {
      status: 400,
      body: { status: "BAD_REFRESH_TOKEN", message: "missing or unknown refresh token" }
    }
  },
  xero: { item: Catalogue.xero, window: 30 * minute, refuses: standard, asks: { basic: true } },
  quickbooks: {
    item: Catalogue.quickbooks,
    window: 24 * hour,
    refuses: standard,
    answers: { x_refresh_token_expires_in: 8_726_400 },
    asks: { basic: true }
  },
  zoho: {
    item: Catalogue.zoho,
    window: Infinity,
    refuses: { status: 200, body: { error: "invalid_code" } },
    answers: { api_domain: "https://www.zohoapis.com", scope: "ZohoCRM.modules.ALL,ZohoCRM.users.ALL" },
    scopes: ["ZohoCRM.modules.ALL", "ZohoCRM.users.ALL"]
  },
  notion: {
    item: Catalogue.notion,
    window: 0,
    refuses: standard,
    answers: { expires_in: undefined, bot_id: "bot-1", scope: undefined },
    asks: { json: true, basic: true }
  },
  spotify: { item: Catalogue.spotify, window: 0, refuses: standard },
  twitch: {
    item: Catalogue.twitch,
    window: Infinity,
    refuses: { status: 400, body: { error: "Bad Request", status: 400, message: "Invalid refresh token" } },
    answers: { scope: ["chat:read", "chat:edit"] },
    scopes: ["chat:read", "chat:edit"]
  },
  shopify: {
    item: Catalogue.shopify("my-shop"),
    window: 30 * 24 * hour,
    refuses: standard,
    answers: { token_type: undefined, scope: "read_products,write_orders" },
    asks: { parameters: { expiring: "1" } },
    scopes: ["read_products", "write_orders"]
  },
  auth0: {
    item: tenant(Catalogue.auth0("acme.eu.auth0.com"), { issuer: "https://acme.eu.auth0.com/" }),
    window: 0,
    refuses: {
      status: 403,
      body: { error: "invalid_grant", error_description: "Unknown or invalid refresh token." }
    }
  },
  okta: { item: tenant(Catalogue.okta("acme.okta.com"), {}), window: 30_000, refuses: standard },
  keycloak: {
    item: tenant(Catalogue.keycloak("https://id.example.com/", "r"), {}),
    window: 0,
    refuses: standard
  },
  cognito: { item: tenant(Catalogue.cognito("eu-west-1", "p"), {}), window: 0, refuses: standard }
}

const providerOf = ({ settings }: Catalogue.Item): Provider.Provider =>
  Either.getOrThrow(
    Provider.fromSettings("played", { ...settings, client: { ...settings.client, id: "c", secret: "s" } })
  )

/** A server with one grant. `lose` is how many answers it loses after it has done what they say. */
const serverOf = ({ answers = {}, asks = {}, refuses, window }: Played, lose = 0) => {
  const state = {
    current: 1,
    used: undefined as undefined | { n: number; at: number },
    dead: false,
    requests: 0
  }
  let left = lose
  const reply = (n: number) => {
    const body: Record<string, unknown> = {
      access_token: `at-${n}`,
      refresh_token: `rt-${window === Infinity ? 1 : n}`,
      token_type: "Bearer",
      expires_in: 3600,
      ...answers
    }
    if (typeof answers["access_token"] === "string") body["access_token"] = `${answers["access_token"]}${n}`
    return { status: 200, body }
  }
  const decide = (token: string | undefined, at: number) => {
    if (state.dead) return refuses
    if (token === `rt-${window === Infinity ? 1 : state.current}`) {
      state.used = { n: state.current, at }
      return reply(++state.current)
    }
    // A replay within the window gets the same answer. Beyond it, it ends the grant.
    if (state.used !== undefined && token === `rt-${state.used.n}` && at - state.used.at < window) {
      return reply(state.current)
    }
    state.dead = true
    return refuses
  }
  const client = HttpClient.make((request) =>
    Effect.gen(function* () {
      state.requests++
      const text = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
      const type = request.headers["content-type"] ?? ""
      const sent: Record<string, string | undefined> = type.includes("json")
        ? (JSON.parse(text) as Record<string, string>)
        : Object.fromEntries(new URLSearchParams(text))
      expect(sent["grant_type"]).toBe("refresh_token")
      expect(type.includes("json")).toBe(asks.json === true)
      if (asks.basic === true) expect(request.headers["authorization"]).toBe(`Basic ${btoa("c:s")}`)
      expect(sent).toMatchObject(asks.parameters ?? {})
      const { body, status } = decide(sent["refresh_token"], yield* Clock.currentTimeMillis)
      if (left-- > 0) {
        const cause = Object.assign(new Error("socket hang up"), { code: "ECONNRESET" })
        return yield* Http.requestError(request, "Transport", { cause })
      }
      const headers = { "content-type": "application/json" }
      return HttpClientResponse.fromWeb(request, new Response(JSON.stringify(body), { status, headers }))
    })
  )
  return { state, layer: Layer.succeed(HttpClient.HttpClient, client) }
}

/** A grant that has just expired, or has an hour to live. */
const grant = (expiresAt: number) =>
  Credentials.make({ accessToken: "at-1", refreshToken: "rt-1", obtainedAt: now - hour, expiresAt })

const cases = Object.entries(played)

describe.each(cases)("%s", (_, server) => {
  const provider = providerOf(server.item)

  it.effect("answers a refresh in its own way", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      const { layer, state } = serverOf(server)
      const credentials = yield* inMemory(provider, layer, (manager) =>
        Effect.gen(function* () {
          yield* manager.save(grant(now - 1))
          yield* manager.getAccessToken
          return Option.getOrThrow(yield* manager.credentials)
        })
      )
      const token = Redacted.value(credentials.accessToken)
      expect(token).toBe(server === played["bitbucket"] ? `${"at-".padEnd(2600, "x")}2` : "at-2")
      if (server.scopes !== undefined) expect(credentials.scopes).toEqual(server.scopes)
      expect(state).toMatchObject({ requests: 1, dead: false })
    })
  )

  it.effect("says that a grant has ended in its own way", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      const { layer, state } = serverOf(server)
      state.dead = true
      const error = yield* inMemory(provider, layer, (manager) =>
        Effect.andThen(manager.save(grant(now - 1)), Effect.flip(manager.getAccessToken))
      )
      expect(error).toMatchObject({ _tag: "ReauthorizationRequired", reason: "GrantDead" })
    })
  )

  it.effect("lets a lost answer be asked for again within its window, and no longer", () =>
    Effect.gen(function* () {
      const { rotation } = provider
      const window = rotation._tag === "Reusable" ? Infinity : Duration.toMillis(rotation.window)
      expect(window).toBe(server.window)
      yield* TestClock.setTime(now)
      const { layer, state } = serverOf(server, 1)
      const result = yield* inMemory(provider, layer, (manager) =>
        Effect.gen(function* () {
          yield* manager.save(grant(now + minute))
          const first = yield* manager.getAccessToken
          yield* TestClock.adjust("10 seconds")
          return [first, yield* manager.getAccessToken].map(Redacted.value)
        })
      )
      if (window === 0) {
        // The token that is still valid is served, and the refresh token is not risked.
        expect(result).toEqual(["at-1", "at-1"])
        expect(state).toMatchObject({ requests: 1, dead: false })
      } else {
        expect(result[1]).not.toBe("at-1")
        expect(state.dead).toBe(false)
        expect(state.requests).toBe(2)
      }
    })
  )
})

it("every server has a source, also for when its grants end, and no two the same name", () => {
  for (const { item } of Object.values(played)) {
    const { endSource, idleDays, lifeDays, settings, source } = item
    expect(source).toMatch(/^https:\/\//)
    const ends = idleDays !== undefined || lifeDays !== undefined
    expect([settings.displayName, /^https:\/\//.test(endSource ?? "")]).toEqual([settings.displayName, ends])
    // A grant is refreshed before it ends, and only for a reason that has a source.
    const keepAlive = /^(\d+) days$/.exec(settings.refresh?.keepAlive ?? "")
    expect([settings.displayName, keepAlive !== null]).toEqual([settings.displayName, idleDays !== undefined])
    expect(Number(keepAlive?.[1] ?? 0)).toBeLessThan(idleDays ?? 1)
  }
  for (const [id, item] of Object.entries(Catalogue.items)) expect(played[id]?.item).toBe(item)
  const names = Object.values(played).map(({ item }) => item.settings.displayName)
  expect(new Set(names).size).toBe(names.length)
})
