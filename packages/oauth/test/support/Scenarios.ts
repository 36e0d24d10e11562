/**
 * Canaries through every request of the wire: as tokens, client secrets, codes and assertions, at a server
 * that responds well, badly, and with the secrets it received.
 */
import type { HttpClientRequest } from "@effect/platform"
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { RequestError } from "@effect/platform/HttpClientError"
import { Credentials, RefreshLease, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import {
  BearerClient,
  ClientAuth,
  ClientCredentials,
  DeviceLogin,
  Introspection,
  JwtBearer,
  ManualLogin,
  RefreshToken,
  Revocation,
  TokenExchange,
  UserInfo
} from "@latchkey/oauth"
import { Clock, Effect, Layer, Option, Redacted } from "effect"
import { VirtualTime } from "./time.js"
import type { Canaries, Scenario } from "../../../core/test/support/Canaries.js"

export const start = 1_700_000_000_000
const origin = "https://id.example"
const server = {
  issuer: origin,
  authorizationEndpoint: `${origin}/authorize`,
  tokenEndpoint: `${origin}/token`,
  revocationEndpoint: `${origin}/revoke`,
  introspectionEndpoint: `${origin}/introspect`,
  deviceAuthorizationEndpoint: `${origin}/device`,
  userinfoEndpoint: `${origin}/userinfo`
}

/** What the server was sent: all of it is known to whoever answers. */
interface Sent {
  readonly path: string
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

type Reply = (canary: () => string, sent: Sent) => Response | "Reset" | "Silence"

const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", ...headers }
  })

/** What is due there; tokens where tokens are given out, with some of its fields as `spoiled` has them. */
const good = (
  canary: () => string,
  { path }: Sent,
  spoiled: Readonly<Record<string, unknown>> = {}
): Readonly<Record<string, unknown>> => {
  if (path === "/introspect") return { active: true, sub: "alice" }
  if (/\/(userinfo|api|profile|user)$/.test(path)) return { sub: "alice", name: "Alice" }
  return {
    access_token: canary(),
    refresh_token: canary(),
    token_type: "Bearer",
    expires_in: 3600,
    device_code: canary(),
    user_code: "ABCD-EFGH",
    verification_uri: `${origin}/device`,
    // As Copilot names them.
    token: canary(),
    expires_at: start / 1000 + 3600,
    issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
    device_secret: canary(),
    ...spoiled
  }
}

const echo = ({ body, headers }: Sent): string => `${JSON.stringify(headers)} ${body}`

/** How a server answers what it was sent, each time with new secrets. */
export const replies: Readonly<Record<string, Reply>> = {
  "all well": (canary, sent) => json(200, good(canary, sent)),
  "invalid_grant that quotes what was sent": (_, sent) =>
    json(400, { error: "invalid_grant", error_description: `bad token in ${echo(sent)}` }),
  "an error code that is what was sent": (_, sent) => json(400, { error: sent.body }),
  "invalid_client with a challenge that quotes": (_, sent) =>
    json(
      401,
      { error: "invalid_client" },
      { "www-authenticate": `Basic realm="${encodeURIComponent(sent.body)}"` }
    ),
  "temporarily_unavailable that quotes": (_, sent) =>
    json(503, { error: "temporarily_unavailable", error_description: echo(sent) }, { "retry-after": "5" }),
  "an HTML page that quotes": (_, sent) =>
    new Response(`<html>${echo(sent)}</html>`, { status: 200, headers: { "content-type": "text/html" } }),
  "a content type that quotes": (_, sent) =>
    new Response("?", { status: 200, headers: { "content-type": `x/${encodeURIComponent(sent.body)}` } }),
  "500 without a word": () => new Response("", { status: 500 }),
  "a redirect that carries it": (_, sent) =>
    new Response("", { status: 307, headers: { location: `https://elsewhere.example/?${sent.body}` } }),
  "tokens of wrong types": (canary, sent) =>
    json(200, good(canary, sent, { access_token: [canary()], expires_in: canary(), token_type: canary() })),
  "tokens with line breaks": (canary, sent) =>
    json(200, good(canary, sent, { access_token: `${canary()}\n${canary()}` })),
  "a lifetime that is a token": (canary, sent) => json(200, good(canary, sent, { expires_in: canary() })),
  "an id token that is none": (canary, sent) =>
    json(200, good(canary, sent, { id_token: `${canary()}.${canary()}.x` })),
  "an error beside tokens": (canary, sent) => json(200, good(canary, sent, { error: canary() })),
  "JSON that is cut off": (canary, sent) =>
    new Response(JSON.stringify(good(canary, sent)).slice(0, -9), { status: 200 }),
  "a reset": () => "Reset",
  silence: () => "Silence"
}

/** A driver's error that quotes all that it had in hand. */
const resetBy = (request: HttpClientRequest.HttpClientRequest, sent: Sent): RequestError =>
  new RequestError({
    request,
    reason: "Transport",
    cause: Object.assign(new Error(`socket hang up: ${echo(sent)}`), { code: "ECONNRESET", sent })
  })

/** What reaches that server only. */
export const client = (canaries: Canaries, reply: Reply): HttpClient.HttpClient =>
  HttpClient.make((request) =>
    Effect.suspend(() => {
      const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
      const sent: Sent = { path: new URL(request.url).pathname, body, headers: { ...request.headers } }
      const answer = reply(() => canaries.take(), sent)
      if (answer === "Silence") return Effect.never
      if (answer === "Reset") return Effect.fail(resetBy(request, sent))
      return Effect.succeed(HttpClientResponse.fromWeb(request, answer))
    })
  )

const auths: Readonly<Record<string, (secret: Redacted.Redacted) => ClientAuth.ClientAuth>> = {
  none: () => ClientAuth.none,
  basic: ClientAuth.basic,
  post: ClientAuth.post,
  client_secret_jwt: ClientAuth.clientSecretJwt
}

/** Everything that has a secret in it, each with all that it gives and fails with. */
const requests = (canaries: Canaries, auth: ClientAuth.ClientAuth) => {
  const secret = () => Redacted.make(canaries.take())
  const options = { server, client: { clientId: "app", auth } }
  const granted = Effect.map(Clock.currentTimeMillis, (now) =>
    Credentials.make({
      accessToken: secret(),
      refreshToken: secret(),
      idToken: secret(),
      obtainedAt: now,
      expiresAt: now + 60_000,
      extras: { device_secret: canaries.take() }
    })
  )
  const subject = Effect.sync(() => ({ token: secret(), type: TokenExchange.tokenType.accessToken }))
  const refreshing = (make: Effect.Effect<{ readonly refresh: RefreshOf }, unknown, HttpClient.HttpClient>) =>
    Effect.flatMap(make, (refresher) =>
      Effect.flatMap(granted, (credentials) => refresher.refresh(Option.some(credentials)))
    )
  const managed = Effect.gen(function* () {
    const manager = yield* TokenManager.make()
    yield* manager.save(yield* granted)
    const seen: Array<unknown> = [manager]
    for (let round = 0; round < 3; round++) {
      seen.push(
        yield* Effect.exit(manager.refresh),
        yield* manager.explain,
        yield* Effect.exit(manager.status)
      )
      yield* Effect.sleep("10 minutes")
    }
    return seen
  }).pipe(
    Effect.scoped,
    Effect.provide([
      TokenStorage.layerMemory,
      RefreshLease.layerProcess,
      TokenConfig.layer(),
      RefreshToken.layer(options)
    ])
  )
  const bearer = Effect.gen(function* () {
    const manager = yield* TokenManager.make()
    yield* manager.save(yield* granted)
    const wrap = yield* BearerClient.transform({ origins: [origin], manager })
    const api = wrap(yield* HttpClient.HttpClient)
    return yield* Effect.exit(api.get(`${origin}/api`))
  }).pipe(
    Effect.scoped,
    Effect.provide([
      TokenStorage.layerMemory,
      RefreshLease.layerProcess,
      TokenConfig.layer(),
      RefreshToken.layer(options)
    ])
  )
  return {
    "the refresh grant": refreshing(RefreshToken.make(options)),
    "the refresh grant in JSON": refreshing(RefreshToken.make({ ...options, encoding: "json" })),
    "a refresh bound to a key": refreshing(RefreshToken.make({ ...options, dpop: true })),
    "client credentials": refreshing(ClientCredentials.make(options)),
    "token exchange": refreshing(TokenExchange.make({ ...options, subject, actor: subject })),
    "JWT bearer": refreshing(JwtBearer.make({ ...options, assertion: Effect.sync(secret) })),
    "a manager": managed,
    "a bearer client": bearer,
    revocation: Effect.flatMap(Revocation.make(options), (r) => Effect.flatMap(granted, r.revoke)),
    introspection: Effect.flatMap(Introspection.make(options), (i) => i.introspect(secret())),
    "user info": Effect.flatMap(UserInfo.make({ server, provider: "example" }), (u) =>
      Effect.flatMap(granted, u.fetch)
    ),
    "a device login": DeviceLogin.login({ ...options, prompt: () => Effect.void }),
    "a login by hand": ManualLogin.login({ ...options, ask: () => Effect.sync(secret) })
  }
}

type RefreshOf = (previous: Option.Option<Credentials.Credentials>) => Effect.Effect<unknown, unknown>

export const scenarios = (canaries: Canaries): ReadonlyArray<Scenario> =>
  Object.entries(replies).flatMap(([answer, reply]) =>
    Object.entries(auths).flatMap(([how, auth]) =>
      Object.entries(requests(canaries, auth(Redacted.make(canaries.take())))).map(([what, request]) => ({
        name: `oauth, ${what} (${how}), ${answer}`,
        // Time-outs and pauses pass at once.
        play: new VirtualTime(start).run(
          Effect.provide(request, Layer.succeed(HttpClient.HttpClient, client(canaries, reply)))
        )
      }))
    )
  )
