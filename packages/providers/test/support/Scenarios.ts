/**
 * Canaries through the providers: their own files, sound and damaged; their grants refreshed, displayed,
 * revoked and requested again, at servers of every kind; and their settings, with secrets in wrong places.
 */
import { type HttpClient } from "@effect/platform"
import { TokenConfig, TokenManager } from "@latchkey/core"
import {
  BuiltIn,
  Login,
  Provider,
  ProviderManager,
  Providers,
  Revoke,
  Session,
  Snapshots
} from "@latchkey/providers"
import { ConfigProvider, Effect, Either, Layer, Redacted, type Scope, TestClock } from "effect"
import * as HttpClientTag from "@effect/platform/HttpClient"
import { VirtualTime } from "../../../oauth/test/support/time.js"
import { home, jwt } from "./world.js"
import { client, replies, start } from "../../../oauth/test/support/Scenarios.js"
import type { Canaries, Scenario } from "../../../core/test/support/Canaries.js"
import * as Edition from "../../../core/test/support/Edition.js"

type Canary = () => string
type Played = Effect.Effect<unknown, unknown, HttpClient.HttpClient | Scope.Scope>

const seconds = start / 1000

/** Each with secrets in all places that have one, those of other programs among them; due to be refreshed. */
const documents: Readonly<Record<string, (canary: Canary) => Readonly<Record<string, unknown>>>> = {
  claude: (c) => ({
    mcpOAuth: { server: { token: c() } },
    claudeAiOauth: {
      accessToken: c(),
      refreshToken: c(),
      expiresAt: start - 1,
      scopes: ["user:inference"],
      subscriptionType: "max",
      deviceSecret: c()
    }
  }),
  codex: (c) => ({
    OPENAI_API_KEY: c(),
    tokens: {
      // Its claims are a profile, and are shown; what proves them is not.
      id_token: jwt({ sub: "user-1" }).replace(/[^.]*$/, c()),
      access_token: jwt({ exp: seconds - 1, secret: c() }),
      refresh_token: c(),
      account_id: "acct-1"
    },
    last_refresh: "2023-11-14T21:00:00.000Z"
  }),
  copilot: (c) => ({
    oauth_token: { access_token: c(), token_type: "bearer", scope: "read:user", created_at: seconds - 9000 },
    copilot_token: { token: c(), expires_at: seconds - 1, endpoints: { api: `https://${c()}.example` } },
    account_type: "individual"
  })
}

/** What may have become of such a file. */
const spoilt: Readonly<Record<string, (document: object, canary: Canary) => string>> = {
  sound: (document) => JSON.stringify(document),
  "cut off": (document) => JSON.stringify(document).slice(0, -4),
  "with arrays for texts": (document, c) =>
    JSON.stringify(document, (key, value: unknown) =>
      /token$/i.test(key) && typeof value === "string" ? [c()] : value
    ),
  "with secrets for instants": (document, c) =>
    JSON.stringify(document, (key, value: unknown) => (/_at$|At$|exp/.test(key) ? c() : value)),
  "with instants of another unit": (document) =>
    JSON.stringify(document, (_, value: unknown) =>
      typeof value === "number" ? (value > start / 2 ? value / 1000 : value * 1000) : value
    ),
  "with line breaks in tokens": (document, c) =>
    JSON.stringify(document, (key, value: unknown) =>
      /token$/i.test(key) && typeof value === "string" ? `${c()}\n${c()}` : value
    ),
  "that is a secret": (_, c) => c(),
  "that is a list": (_, c) => JSON.stringify([c()])
}

const settled = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.exit(effect)

const lookedAt = (manager: TokenManager.Manager) =>
  Effect.gen(function* () {
    const seen: Array<unknown> = [manager]
    for (let round = 0; round < 2; round++) {
      seen.push(
        yield* settled(manager.getAccessToken),
        yield* settled(manager.refresh),
        yield* settled(manager.status),
        yield* settled(manager.snapshot),
        yield* settled(manager.profile),
        yield* settled(manager.credentials),
        yield* manager.explain
      )
      yield* TestClock.adjust("10 minutes")
    }
    return seen
  })

const inItsFile = (
  id: string,
  spoil: (document: object, canary: Canary) => string,
  canaries: Canaries
): Played =>
  Effect.gen(function* () {
    const canary = () => canaries.take()
    const provider = Either.getOrThrow(Provider.fromSettings(id, BuiltIn.providers[id]))
    const { path } = yield* home(spoil(documents[id]!(canary), canary))
    const used = Effect.gen(function* () {
      const manager = yield* TokenManager.TokenManager
      const looked = yield* lookedAt(manager)
      const held = yield* Effect.option(Effect.flatten(manager.credentials))
      const views = Effect.map(held, (credentials) => [Snapshots.make(provider, credentials), credentials])
      const ended = Effect.flatMap(held, (credentials) =>
        Effect.flatMap(Revoke.make(provider), (revocation) => revocation.revoke(credentials))
      )
      return [looked, yield* settled(views), yield* settled(ended), yield* settled(manager.clear)]
    })
    return yield* used.pipe(
      Effect.provide(ProviderManager.layer(provider, { path }).pipe(Layer.provide(TokenConfig.layer())))
    )
  })

/** A provider of the user's file, with a secret of its client. */
const settings = (canary: Canary) => ({
  server: {
    tokenEndpoint: "https://id.example/token",
    authorizationEndpoint: "https://id.example/authorize",
    deviceAuthorizationEndpoint: "https://id.example/device",
    userinfoEndpoint: "https://id.example/userinfo",
    revocationEndpoint: "https://id.example/revoke"
  },
  client: { id: "app", authentication: "post", secret: canary() },
  login: { ways: ["device", "manual", "clientCredentials"] },
  profile: { from: "userinfo" }
})

const logins = (id: string, given: unknown, canaries: Canaries): Played =>
  Effect.gen(function* () {
    const provider = yield* Provider.fromSettings(id, given)
    const ask = () => Effect.sync(() => Redacted.make(canaries.take()))
    const brought = [
      yield* settled(Login.device(provider, { prompt: () => Effect.void })),
      yield* settled(Login.manual(provider, { ask })),
      yield* settled(Login.clientCredentials(provider))
    ]
    return [provider, brought]
  })

/** Settings with a secret at every place where something else is due. */
const wrongly = (canary: Canary): Readonly<Record<string, unknown>> => ({
  "a secret for the settings": canary(),
  "a secret for the client": { ...settings(canary), client: canary() },
  "a list of secrets": { ...settings(canary), client: { id: "app", secret: [canary()] } },
  "a secret as a way in": { ...settings(canary), login: { ways: [canary()] } },
  "a secret as a key": { ...settings(canary), [canary()]: canary() },
  "a secret in an endpoint": {
    ...settings(canary),
    server: { tokenEndpoint: `http://${canary()}:${canary()}@x` }
  },
  "a secret as an authentication": { ...settings(canary), client: { id: "app", authentication: canary() } }
})

const registry = (text: string): Played =>
  Effect.gen(function* () {
    const { path } = yield* home(text)
    const { all, get, ids } = yield* Providers.make({ file: path })
    return [
      yield* settled(ids),
      yield* settled(all),
      yield* settled(get("demo")),
      yield* settled(get("claude"))
    ]
  })

const session = (variables: ReadonlyArray<readonly [string, string]>): Played =>
  Effect.gen(function* () {
    const { path } = yield* home()
    const provided = ConfigProvider.fromMap(new Map([...variables, ["OAUTH_CREDENTIALS_FILE", path]]))
    return yield* Effect.flatMap(TokenManager.TokenManager, lookedAt).pipe(
      Effect.provide(Session.layerConfig().pipe(Layer.provide(Layer.setConfigProvider(provided)))),
      settled
    )
  })

const sessions = (canary: Canary): Readonly<Record<string, ReadonlyArray<readonly [string, string]>>> => {
  const sound = [
    ["OAUTH_TOKEN_ENDPOINT", "https://id.example/token"],
    ["OAUTH_CLIENT_ID", "app"],
    ["OAUTH_CLIENT_SECRET", canary()],
    ["OAUTH_GRANT", "client_credentials"]
  ] as const
  return {
    "as it should be": sound,
    "a secret as the way it is shown": [...sound, ["OAUTH_CLIENT_AUTH", canary()]],
    "a secret as the grant": [...sound, ["OAUTH_GRANT", canary()]],
    "a secret as the server": [...sound, ["OAUTH_TOKEN_ENDPOINT", canary()]]
  }
}

export const scenarios = (canaries: Canaries): ReadonlyArray<Scenario> => {
  const canary = () => canaries.take()
  const at = (name: string, reply: (typeof replies)[string], play: Played) => ({
    name: `providers, ${name}`,
    play: Effect.scoped(play).pipe(
      Effect.provide(Layer.succeed(HttpClientTag.HttpClient, client(canaries, reply)))
    )
  })
  /** Time-outs and pauses pass at once; for what reads no file, which takes time of its own. */
  const inNoTime = ({ name, play }: Scenario): Scenario => ({ name, play: new VirtualTime(start).run(play) })
  const atStart = ({ name, play }: Scenario): Scenario => ({
    name,
    play: Effect.andThen(TestClock.setTime(start), play).pipe(Effect.provide(Edition.testServices))
  })
  const well = replies["all well"]!
  const answers = Object.entries(replies)
  const fromFiles = [
    ...Object.keys(documents).flatMap((id) => [
      ...answers
        .filter(([answer]) => answer !== "silence")
        .map(([answer, reply]) => at(`${id}, ${answer}`, reply, inItsFile(id, spoilt["sound"]!, canaries))),
      ...Object.entries(spoilt).map(([how, spoil]) =>
        at(`${id}, a file ${how}`, well, inItsFile(id, spoil, canaries))
      )
    ]),
    ...Object.entries(wrongly(canary)).map(([what, given]) =>
      at(`${what} of a file`, well, registry(JSON.stringify({ providers: { demo: given } })))
    ),
    at("a file of providers that is a secret", well, registry(canary())),
    at(
      "a file of providers that is cut off",
      well,
      registry(JSON.stringify({ providers: { demo: settings(canary) } }).slice(0, -3))
    ),
    ...Object.entries(sessions(canary)).map(([what, variables]) =>
      at(`a session, ${what}`, well, session(variables))
    )
  ]
  const withoutFiles = [
    ...answers.map(([answer, reply]) =>
      at(`logins, ${answer}`, reply, logins("demo", settings(canary), canaries))
    ),
    ...Object.entries(wrongly(canary)).map(([what, given]) =>
      at(`${what} of the program`, well, logins("demo", given, canaries))
    )
  ]
  return [...fromFiles.map(atStart), ...withoutFiles.map(inNoTime)]
}
