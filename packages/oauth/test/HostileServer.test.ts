import { HttpClient, HttpClientRequest } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  RefreshLease,
  TokenConfig,
  TokenManager,
  type TokenRefresher,
  TokenStorage
} from "@latchkey/core"
import {
  ClientAuth,
  ClientCredentials,
  Introspection,
  RefreshToken,
  Revocation,
  Server,
  UserInfo
} from "@latchkey/oauth"
import { Fault, HostileServer, Rotation } from "@latchkey/oauth/testing"
import { Clock, Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { faults } from "./support/faults.js"

const client = { clientId: "app" }
const start = 1_700_000_000_000

const refreshTokenOf = (credentials: Credentials.Credentials) =>
  Redacted.value(Option.getOrThrow(credentials.refreshToken))
const accessTokenOf = (credentials: Credentials.Credentials) => Redacted.value(credentials.accessToken)

/** A test against a server of its own, with a refresher that reaches it. */
const against = <A, E>(
  options: HostileServer.Options,
  body: (tools: {
    readonly server: (typeof HostileServer.HostileServer)["Service"]
    readonly refresh: (
      c: Credentials.Credentials
    ) => Effect.Effect<Credentials.Credentials, TokenRefresher.RefreshError>
  }) => Effect.Effect<A, E, HttpClient.HttpClient>
) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const server = yield* HostileServer.HostileServer
    const refresher = yield* RefreshToken.make({ server: HostileServer.server, client })
    return yield* body({ server, refresh: (c) => refresher.refresh(Option.some(c)) })
  }).pipe(Effect.provide(HostileServer.layer(options)))

/** Lets the time pass that an effect needs. */
const within = <A, E, R>(millis: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust(millis)
    return yield* Fiber.join(fiber)
  })

const get = (token: string) =>
  Effect.flatMap(HttpClient.HttpClient, (http) =>
    http.execute(
      HttpClientRequest.get(`${HostileServer.resource}things`, {
        headers: { authorization: `Bearer ${token}` }
      })
    )
  )

describe("rotation", () => {
  it.effect("gives a new pair each time, and the resource takes the access token until it expires", () =>
    against({ accessTokenLifetime: "10 minutes" }, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant({ scopes: ["a", "b"], subject: "ann" })
        const second = yield* refresh(first)
        const third = yield* refresh(second)
        expect(new Set([first, second, third].map(refreshTokenOf)).size).toBe(3)
        expect(third.expiresAt).toEqual(Option.some(start + 600_000))
        expect(third.scopes).toEqual(["a", "b"])
        const response = yield* get(accessTokenOf(third))
        expect([response.status, yield* response.json]).toEqual([200, { sub: "ann", scope: "a b" }])
        yield* TestClock.adjust(600_000 - 1)
        expect(yield* server.accepts(third)).toBe(true)
        yield* TestClock.adjust(1)
        expect(yield* server.accepts(third)).toBe(false)
        expect((yield* get(accessTokenOf(third))).status).toBe(401)
        expect(yield* server.counts).toMatchObject({
          requests: 4,
          refreshes: 2,
          replays: 0,
          reuses: 0,
          mostAtOnce: 1
        })
      })
    )
  )

  it.effect("Reusable: the refresh token stays", () =>
    against({ rotation: Rotation.reusable }, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant()
        const second = yield* refresh(first)
        expect(refreshTokenOf(second)).toBe(refreshTokenOf(first))
        expect(accessTokenOf(second)).not.toBe(accessTokenOf(first))
        expect(refreshTokenOf(yield* refresh(first))).toBe(refreshTokenOf(first))
      })
    )
  )

  it.effect("Strict: a replay revokes the family, and all its access tokens with it", () =>
    against({}, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant()
        const second = yield* refresh(first)
        expect(yield* server.canRefresh(first)).toBe(false)
        expect(yield* server.canRefresh(second)).toBe(true)
        expect(yield* Effect.flip(refresh(first))).toMatchObject({ reason: "GrantDead" })
        expect(yield* server.isAlive(second)).toBe(false)
        expect(yield* server.accepts(second)).toBe(false)
        expect(yield* Effect.flip(refresh(second))).toMatchObject({ reason: "GrantDead" })
        expect(yield* server.counts).toMatchObject({ refreshes: 1, reuses: 1, familiesRevoked: 1 })
        expect((yield* server.redemptions).map((r) => r.outcome)).toEqual(["Granted", "Reused", "Refused"])
      })
    )
  )

  it.effect("Strict, refusing: a replay is refused and nothing else", () =>
    against({ rotation: Rotation.strict("Refuse") }, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant()
        const second = yield* refresh(first)
        expect(yield* Effect.flip(refresh(first))).toMatchObject({ reason: "GrantDead" })
        expect(yield* server.isAlive(second)).toBe(true)
        yield* refresh(second)
        expect(yield* server.counts).toMatchObject({ refreshes: 2, reuses: 1, familiesRevoked: 0 })
      })
    )
  )

  it.effect("NewPair: a replay within the window brings another pair, and both go on", () =>
    against({ rotation: Rotation.newPair("30 seconds") }, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant()
        const second = yield* refresh(first)
        yield* TestClock.adjust(29_999)
        const other = yield* refresh(first)
        expect(refreshTokenOf(other)).not.toBe(refreshTokenOf(second))
        yield* refresh(second)
        yield* refresh(other)
        yield* TestClock.adjust(1)
        expect(yield* Effect.flip(refresh(first))).toMatchObject({ reason: "GrantDead" })
        expect(yield* server.counts).toMatchObject({
          refreshes: 4,
          replays: 1,
          reuses: 1,
          familiesRevoked: 1
        })
      })
    )
  )

  it.effect("SamePair: a replay within the window brings the same pair, with what is left of its life", () =>
    against({ rotation: Rotation.samePair("30 seconds") }, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant()
        const second = yield* refresh(first)
        yield* TestClock.adjust(29_000)
        const again = yield* refresh(first)
        expect(refreshTokenOf(again)).toBe(refreshTokenOf(second))
        expect(accessTokenOf(again)).toBe(accessTokenOf(second))
        expect(again.expiresAt).toEqual(second.expiresAt)
        yield* refresh(again)
        expect(yield* Effect.flip(refresh(first))).toMatchObject({ reason: "GrantDead" })
      })
    )
  )

  it.effect("PredecessorValid: a replay is good until a successor was used, however late", () =>
    against({ rotation: Rotation.predecessorValid() }, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant()
        yield* refresh(first)
        yield* TestClock.adjust("30 days")
        const second = yield* refresh(first)
        yield* refresh(second)
        expect(yield* server.canRefresh(first)).toBe(false)
        expect(yield* Effect.flip(refresh(first))).toMatchObject({ reason: "GrantDead" })
        expect(yield* server.isAlive(second)).toBe(false)
      })
    )
  )

  it.effect("a refresh token ends when its lifetime does", () =>
    against({ refreshTokenLifetime: "1 day" }, ({ refresh, server }) =>
      Effect.gen(function* () {
        const first = yield* server.issueGrant()
        yield* TestClock.adjust("1 day")
        expect(yield* server.canRefresh(first)).toBe(false)
        expect(yield* Effect.flip(refresh(first))).toMatchObject({ reason: "GrantDead" })
        expect(yield* server.isAlive(first)).toBe(true)
      })
    )
  )
})

describe("faults", () => {
  it.effect.each(faults)("$fault.name", ({ fate, fault, reason }) =>
    against({}, ({ refresh, server }) =>
      Effect.gen(function* () {
        const grant = yield* server.issueGrant()
        yield* server.plan([fault])
        const failed = yield* within(31_000, Effect.flip(refresh(grant)))
        expect(failed.reason).toBe(reason)
        expect(failed.salvaged !== undefined).toBe(fate === "saved")
        yield* TestClock.adjust(1000)
        expect(yield* server.counts).toMatchObject({ requests: 1, refreshes: fate === "untouched" ? 0 : 1 })
        if (failed.salvaged !== undefined) expect(yield* server.canRefresh(failed.salvaged)).toBe(true)
        yield* server.issueGrant().pipe(Effect.flatMap(refresh))
      })
    )
  )

  it.effect("Retry-After is told in seconds or as a date by the server's own clock", () =>
    against({ clockSkew: -3_600_000 }, ({ refresh, server }) =>
      Effect.gen(function* () {
        yield* server.plan([Fault.tooManyRequests("7 seconds"), Fault.tooManyRequests("7 seconds", "date")])
        const grant = yield* server.issueGrant()
        for (let i = 0; i < 2; i++) {
          const { retryAfter } = yield* Effect.flip(refresh(grant))
          expect(retryAfter).toMatchObject({ value: { millis: 7000 } })
        }
      })
    )
  )

  it.effect("meet the n-th request, the following ones, or all until they are called off", () =>
    against({}, ({ refresh, server }) =>
      Effect.gen(function* () {
        const reasons = (n: number) =>
          Effect.forEach(Array.from({ length: n }), () =>
            server
              .issueGrant()
              .pipe(
                Effect.flatMap(refresh),
                Effect.match({ onFailure: (e) => e.reason, onSuccess: () => "fine" })
              )
          )
        yield* server.faultAt(2, Fault.refused)
        expect(yield* reasons(3)).toEqual(["fine", "NotSent", "fine"])
        yield* server.plan([Fault.lostRequest, Fault.none, Fault.refused])
        expect(yield* reasons(4)).toEqual(["MaybeSent", "fine", "NotSent", "fine"])
        yield* server.always(Fault.refused)
        yield* server.plan([Fault.none])
        expect(yield* reasons(3)).toEqual(["fine", "NotSent", "NotSent"])
        yield* server.always(Fault.none)
        expect(yield* reasons(1)).toEqual(["fine"])
      })
    )
  )
})

/** The result of a run: how each refresh ended, and when. */
const run = (seed: number) =>
  against(
    {
      seed,
      latency: { min: 0, max: 400 },
      chances: [
        { fault: Fault.refused, probability: 0.2 },
        { fault: Fault.lostRequest, probability: 0.2 },
        { fault: Fault.refused, probability: 1, endpoint: "resource" }
      ]
    },
    ({ refresh, server }) =>
      Effect.gen(function* () {
        const ends: Array<string> = []
        for (let i = 0; i < 10; i++) {
          const grant = yield* server.issueGrant()
          const end = yield* within(800, Effect.zip(Effect.either(refresh(grant)), Clock.currentTimeMillis))
          ends.push(`${end[1]} ${end[0]._tag === "Left" ? end[0].left.reason : accessTokenOf(end[0].right)}`)
        }
        return ends
      })
  )

it.effect("the same seed gives the same run, and another one another", () =>
  Effect.gen(function* () {
    const ends = yield* run(7)
    expect(yield* run(7)).toEqual(ends)
    expect(yield* run(8)).not.toEqual(ends)
    for (const kind of ["NotSent", "MaybeSent", "hostile-at-"]) {
      expect(ends.some((end) => end.includes(kind))).toBe(true)
    }
  })
)

it.effect("a program of layers rides out a lost answer", () =>
  Effect.gen(function* () {
    const server = yield* HostileServer.HostileServer
    const manager = yield* TokenManager.TokenManager
    const first = yield* server.issueGrant()
    yield* manager.save(first)
    yield* server.plan([Fault.lostAnswer])
    yield* TestClock.adjust("59 minutes")
    expect(Redacted.value(yield* manager.getAccessToken)).toBe(accessTokenOf(first))
    yield* TestClock.adjust("1 minute")
    const token = yield* manager.getAccessToken
    expect((yield* get(Redacted.value(token))).status).toBe(200)
    expect(yield* server.counts).toMatchObject({ refreshes: 2, replays: 1, reuses: 0 })
  }).pipe(
    Effect.provide(
      TokenManager.layer().pipe(
        Layer.provide(RefreshToken.layer({ server: HostileServer.server, client })),
        Layer.provide(
          Layer.mergeAll(TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer())
        ),
        Layer.provideMerge(HostileServer.layer({ rotation: Rotation.newPair("2 minutes") }))
      )
    )
  )
)

describe("beside the refresh", () => {
  it.effect("device login: pending, too fast, approved once; denied; too late", () =>
    against({}, ({ refresh, server }) =>
      Effect.gen(function* () {
        const http = yield* HttpClient.HttpClient
        const post = (url: string, form: Record<string, string>) =>
          HttpClientRequest.post(url).pipe(
            HttpClientRequest.bodyUrlParams(form),
            http.execute,
            Effect.flatMap((response) => response.json),
            Effect.map((json) => json as Record<string, unknown>)
          )
        const begin = Effect.map(
          post(`${HostileServer.server.deviceAuthorizationEndpoint}`, { scope: "a" }),
          (answer) => [String(answer["device_code"]), String(answer["user_code"])] as const
        )
        const poll = (code: string) =>
          post(HostileServer.server.tokenEndpoint, {
            grant_type: "urn:ietf:params:oauth:grant-type:device_code",
            device_code: code
          })
        const [code, userCode] = yield* begin
        expect(yield* poll(code)).toEqual({ error: "authorization_pending" })
        yield* TestClock.adjust(4999)
        expect(yield* poll(code)).toEqual({ error: "slow_down" })
        yield* TestClock.adjust(9999)
        expect(yield* poll(code)).toEqual({ error: "slow_down" })
        expect(yield* server.answerDevice(userCode, "Approved")).toBe(true)
        yield* TestClock.adjust(15_000)
        const answer = yield* poll(code)
        expect(answer).toMatchObject({ token_type: "Bearer", scope: "a" })
        yield* refresh(
          Credentials.make({
            accessToken: "none",
            refreshToken: String(answer["refresh_token"]),
            scopes: ["a"]
          })
        )
        yield* TestClock.adjust(15_000)
        expect(yield* poll(code)).toEqual({ error: "invalid_grant" })

        const [denied, deniedCode] = yield* begin
        yield* server.answerDevice(deniedCode, "Denied")
        expect(yield* poll(denied)).toEqual({ error: "access_denied" })
        const [late] = yield* begin
        yield* TestClock.adjust("10 minutes")
        expect(yield* poll(late)).toEqual({ error: "expired_token" })
        expect(yield* server.answerDevice("nobody's", "Denied")).toBe(false)
      })
    )
  )

  it.effect("discovery", () =>
    against({}, ({ server }) =>
      Effect.gen(function* () {
        for (const discovery of ["oidc", "oauth2"] as const) {
          const found = yield* Server.make({ issuer: HostileServer.issuer, discovery })
          expect((yield* found.metadata).token_endpoint).toBe(HostileServer.server.tokenEndpoint)
        }
        expect((yield* server.counts).byEndpoint.discovery).toBe(2)
      })
    )
  )

  it.effect("revocation ends the family, or an access token alone", () =>
    against({}, ({ refresh, server }) =>
      Effect.gen(function* () {
        const revocation = yield* Revocation.make({ server: HostileServer.server, client })
        const one = yield* server.issueGrant()
        const another = yield* server.issueGrant()
        yield* revocation.revoke(one)
        expect([yield* server.isAlive(one), yield* server.accepts(one)]).toEqual([false, false])
        expect(yield* server.isAlive(another)).toBe(true)
        yield* server.revokeAccessToken(another)
        expect(yield* server.accepts(another)).toBe(false)
        expect(yield* server.accepts(yield* refresh(another))).toBe(true)
        yield* server.revokeGrant(another)
        expect(yield* server.isAlive(another)).toBe(false)
        expect(yield* server.counts).toMatchObject({ familiesRevoked: 2, reuses: 0 })
      })
    )
  )

  it.effect("introspection tells by the server's clock", () =>
    against({ clockSkew: 5000 }, ({ server }) =>
      Effect.gen(function* () {
        const introspection = yield* Introspection.make({ server: HostileServer.server, client })
        const grant = yield* server.issueGrant({ scopes: ["a"], subject: "ann" })
        expect(yield* introspection.introspect(grant.accessToken)).toMatchObject({
          active: true,
          expiresAt: Option.some(start + 3_605_000),
          scopes: ["a"],
          subject: Option.some("ann")
        })
        expect(yield* introspection.introspect(Option.getOrThrow(grant.refreshToken))).toMatchObject({
          active: true
        })
        yield* server.revokeGrant(grant)
        expect(yield* introspection.introspect(grant.accessToken)).toMatchObject({ active: false })
      })
    )
  )

  it.effect("client credentials, for the client that it knows", () =>
    against({ client: { clientId: "svc", secret: Redacted.make("s3 :cret") } }, ({ server }) =>
      Effect.gen(function* () {
        const ask = (auth: ClientAuth.ClientAuth) =>
          Effect.flatMap(
            ClientCredentials.make({
              server: HostileServer.server,
              client: { clientId: "svc", auth },
              scopes: ["x"]
            }),
            (refresher) => refresher.refresh(Option.none())
          )
        for (const auth of [ClientAuth.basic, ClientAuth.post]) {
          const credentials = yield* ask(auth(Redacted.make("s3 :cret")))
          expect(credentials.refreshToken).toEqual(Option.none())
          expect(yield* server.accepts(credentials)).toBe(true)
          expect(yield* Effect.flip(ask(auth(Redacted.make("wrong"))))).toMatchObject({
            oauthError: "invalid_client"
          })
        }
        expect(yield* Effect.flip(ask(ClientAuth.none))).toMatchObject({
          reason: "Misconfigured",
          status: 401
        })
      })
    )
  )

  it.effect("user info, and what a resource refuses", () =>
    against({ acceptedFor: "1 minute" }, ({ server }) =>
      Effect.gen(function* () {
        const grant = yield* server.issueGrant({ subject: "ann" })
        const info = yield* UserInfo.make({ server: HostileServer.server, provider: "hostile" })
        expect(yield* info.fetch(grant)).toMatchObject({ accountId: Option.some("ann") })
        yield* server.plan([Fault.invalidToken, Fault.insufficientScope("admin")], "resource")
        const challenges = yield* Effect.forEach([1, 2, 3], () =>
          Effect.map(get(accessTokenOf(grant)), (r) => [r.status, r.headers["www-authenticate"]])
        )
        expect(challenges).toEqual([
          [401, 'Bearer error="invalid_token"'],
          [403, 'Bearer error="insufficient_scope", scope="admin"'],
          [200, undefined]
        ])
        yield* TestClock.adjust("1 minute")
        expect((yield* get(accessTokenOf(grant))).headers["www-authenticate"]).toBe(
          'Bearer error="invalid_token"'
        )
        expect((yield* get("")).headers["www-authenticate"]).toBe("Bearer")
      })
    )
  )

  it.effect("a scope that was not granted, a JSON body, an unknown host", () =>
    against({}, ({ server }) =>
      Effect.gen(function* () {
        const http = yield* HttpClient.HttpClient
        const grant = yield* server.issueGrant({ scopes: ["a", "b"] })
        const ask = (scope: string) =>
          HttpClientRequest.post(HostileServer.server.tokenEndpoint).pipe(
            HttpClientRequest.bodyUnsafeJson({
              grant_type: "refresh_token",
              refresh_token: refreshTokenOf(grant),
              scope
            }),
            http.execute,
            Effect.flatMap((response) => response.json)
          )
        expect(yield* ask("a c")).toMatchObject({ error: "invalid_scope" })
        expect(yield* ask("b")).toMatchObject({ token_type: "Bearer", scope: "b" })
        expect(yield* Effect.flip(http.get("https://elsewhere.test/"))).toMatchObject({
          cause: { code: "ENOTFOUND" }
        })
        expect((yield* http.get(`${HostileServer.issuer}/nowhere`)).status).toBe(404)
      })
    )
  )
})
