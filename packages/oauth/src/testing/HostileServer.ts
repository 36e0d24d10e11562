/**
 * An authorization server and a resource server in memory, for testing programs that hold grants. As a layer
 * it is the program's `HttpClient`. It behaves correctly (rotation with reuse detection, revocation,
 * introspection, client credentials, device login, discovery) until you plan faults.
 *
 * It reads Effect's `Clock`, so a test's clock moves it, and has its own random generator: the same seed
 * gives the same tokens, delays and faults.
 *
 * ```ts
 * const program = Effect.gen(function* () {
 *   const server = yield* HostileServer.HostileServer
 *   const manager = yield* TokenManager.TokenManager
 *   yield* manager.save(yield* server.issueGrant())
 *   yield* server.plan([Fault.lostAnswer, Fault.tooManyRequests("10 seconds")])
 *   yield* TestClock.adjust("1 hour")
 *   const token = yield* manager.getAccessToken
 * })
 * const refresher = RefreshToken.layer({ server: HostileServer.server, client: { clientId: "app" } })
 * const manager = TokenManager.layer().pipe(
 *   Layer.provide([refresher, TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()]),
 *   Layer.provideMerge(HostileServer.layer({ rotation: Rotation.newPair("30 seconds") }))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Credentials from "@latchkey/core/Credentials"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Seeded } from "@latchkey/core/internal-api"
import * as Known from "../internal/hostile/endpoints.js"
import { Devices } from "../internal/hostile/devices.js"
import { Grants } from "../internal/hostile/grants.js"
import { FaultPlan } from "../internal/hostile/FaultPlan.js"
import type { Endpoint, Options, Redemption } from "../internal/hostile/model.js"
import * as Network from "../internal/hostile/network.js"
import type { Endpoints } from "../Server.js"
import type { Fault } from "./Fault.js"
import * as Rotation from "./Rotation.js"

export type { Endpoint, Options, Redemption } from "../internal/hostile/model.js"

/**
 * The server's issuer, which supports discovery.
 *
 * @since 0.1.0
 * @category models
 */
export const issuer: string = Known.issuer

/**
 * A protected resource that accepts the server's access tokens. So does everything below it.
 *
 * @since 0.1.0
 * @category models
 */
export const resource: string = Known.resource

/**
 * The server's endpoints, for the `server` option of refreshers and logins.
 *
 * @since 0.1.0
 * @category models
 */
export const server: Endpoints = Known.endpoints

/**
 * A first grant, as after a login.
 *
 * @since 0.1.0
 * @category models
 */
export interface GrantOptions {
  readonly scopes?: ReadonlyArray<string>
  readonly subject?: string
}

/**
 * What happened so far.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counts {
  /** All requests, including those that never arrived, and the number for each endpoint. */
  readonly requests: number
  readonly byEndpoint: Readonly<Record<Endpoint, number>>
  /** The highest number of requests to the token endpoint that ran at once. */
  readonly mostAtOnce: number
  /** Redemptions that brought tokens, including replays within a window. */
  readonly refreshes: number
  readonly replays: number
  /** Replays that were not allowed, and the families that ended, by such a replay or by revocation. */
  readonly reuses: number
  readonly familiesRevoked: number
}

/**
 * The server's controls.
 *
 * @since 0.1.0
 * @category tags
 */
export class HostileServer extends Context.Tag("@latchkey/oauth/testing/HostileServer")<
  HostileServer,
  {
    /** Issues a grant of a new family, without a request. Default scope: `offline_access`. */
    readonly issueGrant: (options?: GrantOptions) => Effect.Effect<Credentials.Credentials>
    /** Sets the faults of the next requests, one each, in order. Default endpoint: the token endpoint. */
    readonly plan: (faults: ReadonlyArray<Fault>, endpoint?: Endpoint) => Effect.Effect<void>
    /** Sets the fault of the n-th request to an endpoint, counted from 1 since the start. */
    readonly faultAt: (number: number, fault: Fault, endpoint?: Endpoint) => Effect.Effect<void>
    /** Sets the fault of all requests without a planned fault, from now on. `Fault.none` ends it. */
    readonly always: (fault: Fault, endpoint?: Endpoint) => Effect.Effect<void>
    readonly counts: Effect.Effect<Counts>
    readonly redemptions: Effect.Effect<ReadonlyArray<Redemption>>
    /** Whether the grant's family is alive: neither revoked nor ended by a reuse. */
    readonly isAlive: (credentials: Credentials.Credentials) => Effect.Effect<boolean>
    /** Whether a refresh with this refresh token would succeed now. */
    readonly canRefresh: (credentials: Credentials.Credentials) => Effect.Effect<boolean>
    /** Whether the resource would accept this access token now. */
    readonly accepts: (credentials: Credentials.Credentials) => Effect.Effect<boolean>
    /** Ends the grant, as its user can at the server. */
    readonly revokeGrant: (credentials: Credentials.Credentials) => Effect.Effect<void>
    /** Ends only the access token: the resource answers 401 `invalid_token` from now on. */
    readonly revokeAccessToken: (credentials: Credentials.Credentials) => Effect.Effect<void>
    /** What the user does with a device's code. Returns whether there is such a code. */
    readonly answerDevice: (userCode: string, answer: "Approved" | "Denied") => Effect.Effect<boolean>
  }
>() {}

/**
 * Creates a server and a client that reaches only this server: requests to other hosts fail as if the host
 * did not exist. Running requests end with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<
  { readonly client: HttpClient.HttpClient; readonly control: Context.Tag.Service<HostileServer> },
  never,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const random = Seeded.make(options.seed ?? 0)
    let serial = 0
    const code = () => random.integer(0x100000000).toString(16).padStart(8, "0")
    const toldLifetime = Duration.toMillis(options.accessTokenLifetime ?? "1 hour")
    const grants = new Grants(
      options.rotation ?? Rotation.strict(),
      {
        accessToken: Duration.toMillis(options.acceptedFor ?? toldLifetime),
        refreshToken: Duration.toMillis(options.refreshTokenLifetime ?? Duration.infinity)
      },
      (kind) => `hostile-${kind}-${++serial}-${code()}`
    )
    const devices = new Devices({ lifetime: 600_000, interval: 5000 }, code)
    const faultPlan = new FaultPlan(options.chances ?? [], random)
    const client = yield* Network.make({
      faultPlan,
      random,
      latency: latencyOf(options.latency ?? 0),
      site: {
        grants,
        devices,
        toldLifetime,
        skew: () =>
          typeof options.clockSkew === "function" ? options.clockSkew() : (options.clockSkew ?? 0),
        client: options.client && {
          clientId: options.client.clientId,
          secret: options.client.secret && Redacted.value(options.client.secret)
        }
      }
    })

    const withNow = <A>(f: (now: number) => A): Effect.Effect<A> => Effect.map(Clock.currentTimeMillis, f)
    const refreshTokenOf = ({ refreshToken }: Credentials.Credentials) =>
      Option.getOrElse(Option.map(refreshToken, Redacted.value), () => "")
    const accessTokenOf = ({ accessToken }: Credentials.Credentials) => Redacted.value(accessToken)
    const control = HostileServer.of({
      issueGrant: ({ scopes = ["offline_access"], subject } = {}) =>
        withNow((now) => {
          const pair = grants.begin(subject, scopes, now)
          return Credentials.make({
            accessToken: pair.accessToken,
            refreshToken: pair.refreshToken,
            obtainedAt: now,
            expiresAt: now + toldLifetime,
            scopes
          })
        }),
      plan: (faults, endpoint = "token") => Effect.sync(() => faultPlan.plan(faults, endpoint)),
      faultAt: (number, fault, endpoint = "token") =>
        Effect.sync(() => faultPlan.faultAt(number, fault, endpoint)),
      always: (fault, endpoint = "token") => Effect.sync(() => faultPlan.always(fault, endpoint)),
      counts: Effect.sync(() => {
        const granted = (outcome: Redemption["outcome"]) =>
          grants.redemptions.filter((r) => r.outcome === outcome).length
        const replays = granted("Replayed")
        return {
          requests: Object.values(faultPlan.arrived).reduce((a, b) => a + b, 0),
          byEndpoint: { ...faultPlan.arrived },
          mostAtOnce: faultPlan.mostAtOnce,
          refreshes: granted("Granted") + replays,
          replays,
          reuses: granted("Reused"),
          familiesRevoked: grants.familiesRevoked
        }
      }),
      redemptions: Effect.sync(() => [...grants.redemptions]),
      isAlive: (credentials) => Effect.sync(() => grants.family(refreshTokenOf(credentials))?.alive ?? false),
      canRefresh: (credentials) => withNow((now) => grants.canRefresh(refreshTokenOf(credentials), now)),
      accepts: (credentials) =>
        withNow((now) => grants.accepted(accessTokenOf(credentials), now) !== undefined),
      revokeGrant: (credentials) => Effect.sync(() => grants.revoke(refreshTokenOf(credentials))),
      revokeAccessToken: (credentials) => Effect.sync(() => grants.revoke(accessTokenOf(credentials))),
      answerDevice: (userCode, answer) => Effect.sync(() => devices.answer(userCode, answer))
    })
    return { client, control }
  })

/**
 * Provides the server as the `HttpClient`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<HttpClient.HttpClient | HostileServer> =>
  Layer.scopedContext(
    Effect.map(make(options), ({ client, control }) =>
      Context.make(HostileServer, control).pipe(Context.add(HttpClient.HttpClient, client))
    )
  )

const latencyOf = (latency: NonNullable<Options["latency"]>): readonly [number, number] => {
  const { max, min } =
    typeof latency === "object" && "min" in latency ? latency : { min: latency, max: latency }
  return [Duration.toMillis(min), Duration.toMillis(max)]
}
