/**
 * The login at one MCP server: a token that is valid now, and what to do when the server refuses it.
 *
 * The tokens live in a `TokenStorage` and are refreshed by a `TokenManager`, under its lease: all processes that share the
 * storage share one login. A network that fails ends no login; the user is asked only when the grant is gone, and once for
 * all who wait.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import type { TokenConfig } from "@latchkey/core/TokenConfig"
import type { TokenError } from "@latchkey/core/TokenError"
import * as TokenManager from "@latchkey/core/TokenManager"
import { TokenRefresher } from "@latchkey/core/TokenRefresher"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import type * as ClientAuth from "@latchkey/oauth/ClientAuth"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type { LoginError } from "@latchkey/oauth/LoginError"
import type * as LoginEvent from "@latchkey/oauth/LoginEvent"
import * as Revocation from "@latchkey/oauth/Revocation"
import type * as Server from "@latchkey/oauth/Server"
import * as Wire from "@latchkey/oauth/Wire"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Binding from "./Binding.js"
import * as Discovery from "./Discovery.js"
import * as boundStorage from "./internal/boundStorage.js"
import * as discover from "./internal/discover.js"
import * as joined from "./internal/joined.js"
import * as refresher from "./internal/refresher.js"
import * as registering from "./internal/register.js"
import type * as Login from "./Login.js"
import { type LoginFailure, McpError } from "./McpError.js"
import * as Registration from "./Registration.js"
import * as Scopes from "./Scopes.js"

/**
 * What happens on the way to a login. `message` is for people and holds no secret.
 *
 * @since 0.1.0
 * @category models
 */
export type McpEvent =
  | {
      readonly _tag: "LoginNeeded"
      readonly reason: Login.Reason
      readonly scopes: Scopes.Scopes
      readonly message: string
    }
  | {
      readonly _tag: "Registered"
      readonly issuer: string
      readonly clientId: string
      readonly message: string
    }
  | {
      readonly _tag: "LoggedIn"
      readonly issuer: string
      readonly scopes: Scopes.Scopes
      readonly message: string
    }

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Registration.Options, Endpoint.DiscoveredOptions {
  /** The URL of the MCP server, as its clients use it. */
  readonly serverUrl: string | URL
  /** How the user is asked to log in. Without it nobody is asked: `McpError`, `LoginRequired`. */
  readonly login?: Login.Way | undefined
  /** Scopes to ask for beside those that the server wants. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** The issuer to log in at, where the server lists several; the first one, unless given. */
  readonly authorizationServer?: string | undefined
  /**
   * Whether an authorization server is used that does not say that it supports PKCE, against the MCP specification; no,
   * unless given. The challenge is sent to it all the same.
   */
  readonly allowUnadvertisedPkce?: boolean | undefined
  /** Names the grant to the lease; the storage's location unless given. */
  readonly account?: string | undefined
  /** Whether the grant is renewed before it is due, without being asked; see `TokenManager.Options`. */
  readonly renew?: boolean | undefined
  /** How long one request to an authorization server may take; 30 s, which is also the most. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Takes what happens; it is logged unless given. */
  readonly onEvent?: ((event: McpEvent) => Effect.Effect<void>) | undefined
  /** Takes the events of the logins; they are logged as warnings unless given. */
  readonly onLoginEvent?: LoginEvent.Options["onEvent"]
}

/**
 * The login at one MCP server. Tokens come `Redacted`. Everything may be called concurrently.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly serverUrl: URL
  /** The manager of the grant: its status, its events, `clear`. */
  readonly manager: TokenManager.Manager
  /**
   * A token that is valid now, refreshed first where that is due; none while nobody is logged in, or once the grant has
   * ended. Asks no user: send the request without a token, and hand the server's 401 to `unauthorized`. Fails where there
   * may be a token again later.
   */
  readonly token: Effect.Effect<Option.Option<Redacted.Redacted>, TokenError>
  /**
   * The server answered 401 to a request with this token, or with none: another token. It is refreshed if it is still the
   * current one. The user is asked if the grant is gone, or if the server trusts another authorization server now.
   */
  readonly unauthorized: (
    refused: Option.Option<Redacted.Redacted>,
    wwwAuthenticate: string | undefined
  ) => Effect.Effect<Redacted.Redacted, LoginFailure>
  /**
   * The server answered 403 `insufficient_scope` to this token: one with the scopes that it wants, for which the user is
   * asked. Fails as `InsufficientScope` where that was done before, or does not help.
   */
  readonly insufficientScope: (
    refused: Redacted.Redacted,
    wwwAuthenticate: string | undefined
  ) => Effect.Effect<Redacted.Redacted, LoginFailure>
  /** Asks the user to log in now, for more scopes if any are given. */
  readonly login: (options?: {
    readonly scopes?: ReadonlyArray<string> | undefined
  }) => Effect.Effect<Redacted.Redacted, LoginFailure>
  /**
   * Ends the grant at the server that issued it, if that revokes grants (RFC 7009), and removes it here; whether there was
   * one. It stays here if it cannot be ended: `manager.clear` removes it all the same.
   */
  readonly logout: Effect.Effect<boolean, LoginFailure>
}

/**
 * The login of a program that has one MCP server.
 *
 * @since 0.1.0
 * @category tags
 */
export class McpAuth extends Context.Tag("@latchkey/mcp/McpAuth")<McpAuth, Service>() {}

/**
 * A tag for one of several servers: `class Notes extends McpAuth.Tag("app/Notes")<Notes>() {}`.
 *
 * @since 0.1.0
 * @category tags
 */
export const Tag =
  <const Id extends string>(id: Id) =>
  <Self>(): Context.TagClass<Self, Id, Service> =>
    Context.Tag(id)<Self, Service>()

type Requirements = TokenStorage | RefreshLease | TokenConfig | HttpClient

/** A login that is needed, and what its outcome must be better than. */
interface Need {
  readonly reason: Login.Reason
  readonly challenge: Discovery.ServerChallenge
  /** The scopes to ask for beside those of the challenge. */
  readonly wanted: Scopes.Scopes
  /** The scopes that a step-up is about. */
  readonly lacking: Scopes.Scopes
  readonly refused: Option.Option<Redacted.Redacted>
}

/** How often a login is looked for that another process makes. */
const lookInterval = "500 millis"

/** For how long nobody is asked again by a request, once a user did not want to log in, in milliseconds. */
const quietTime = 60_000

/** The longest cool-down that a request waits for, in milliseconds. */
const coolDownPatience = 5000

/** What a user who is not there, or does not want to, ends a login with. */
const endedByUser: ReadonlyArray<LoginError["reason"]> = [
  ...(["Denied", "Cancelled", "Expired", "TimedOut", "NoBrowser", "PortBusy"] as const)
]

/**
 * The login at an MCP server over the services in context, living in the scope. Nothing is sent yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Service, OAuthConfigError, Requirements | Scope.Scope> =>
  Effect.gen(function* () {
    const serverUrl = yield* Endpoint.check("serverUrl", options.serverUrl)
    const http = yield* Effect.context<HttpClient>()
    const wire = yield* Wire.make({ timeout: options.timeout })
    const lease = yield* RefreshLease
    const storage = boundStorage.make(yield* TokenStorage, serverUrl)
    const account = options.account ?? storage.location
    const discovery: discover.Settings = { serverUrl, wire, allowPrivate: options.allowPrivate }

    const servers = new Map<string, Context.Tag.Service<Server.Server>>()
    const serverOf = (issuer: string, hasMetadata: boolean) =>
      Effect.suspend(() => {
        const key = `${hasMetadata} ${issuer}`
        const known = servers.get(key)
        if (known !== undefined) return Effect.succeed(known)
        return discover.server(issuer, hasMetadata, options).pipe(
          Effect.tap((made) => Effect.sync(() => servers.set(key, made))),
          Effect.provide(http)
        )
      })

    const manager = yield* TokenManager.make({
      provider: "mcp",
      account,
      ...(options.renew !== undefined && { renew: options.renew })
    }).pipe(
      Effect.provideService(TokenStorage, storage),
      Effect.provideServiceEffect(
        TokenRefresher,
        refresher.make({ registration: options, timeout: options.timeout, server: serverOf })
      )
    )

    // What this process knows beside the grant: the scopes that were asked for in vain, clients that a server has
    // forgotten, and when a user last did not log in.
    const tried = new Set<string>()
    const forgotten = new Set<string>()
    let unwilling: { readonly until: number; readonly error: LoginError } | undefined

    const binding = Effect.map(manager.credentials, (credentials) => Option.flatMap(credentials, Binding.of))

    /** Whether a refresh fails because the server does not know the client any more, now or a while ago. */
    const isForgotten = (error: TokenError): Effect.Effect<boolean> =>
      error._tag !== "RefreshUnavailable"
        ? Effect.succeed(false)
        : Effect.map(Effect.option(binding), (found) =>
            Option.exists(Option.flatMap(Option.flatten(found), Binding.client), (client) => {
              const { cause } = error
              const code = cause?._tag === "RefreshError" ? cause.oauthError : undefined
              if (Registration.isForgotten(client, code)) forgotten.add(client.clientId)
              return forgotten.has(client.clientId)
            })
          )

    const token: Service["token"] = manager.getAccessToken.pipe(
      Effect.asSome,
      Effect.catchAll((error) =>
        error._tag === "ReauthorizationRequired"
          ? Effect.succeedNone
          : Effect.flatMap(isForgotten(error), (gone) => (gone ? Effect.succeedNone : Effect.fail(error)))
      )
    )

    const report = (event: McpEvent): Effect.Effect<void> =>
      options.onEvent === undefined ? Effect.logInfo(event.message) : options.onEvent(event)

    /** The authorization server to log in at, with its metadata. */
    const chooseServer = (challenge: Discovery.ServerChallenge, stored: Option.Option<Binding.Binding>) =>
      Effect.gen(function* () {
        const { hasMetadata, resource } = yield* discover.resource(discovery, challenge.resourceMetadata)
        const issuer = Option.getOrElse(
          Discovery.selectIssuer(
            resource.issuers,
            Option.map(stored, (before) => before.issuer),
            Option.fromNullable(options.client?.issuer ?? options.authorizationServer)
          ),
          () => serverUrl.origin
        )
        const discovered = yield* serverOf(issuer, true)
        const metadata = yield* Effect.either(discovered.metadata)
        if (metadata._tag === "Right") {
          return { resource, issuer, hasMetadata: true, server: discovered, metadata: metadata.right }
        }
        if (hasMetadata || !discover.isAbsent(metadata.left)) return yield* metadata.left
        const server = yield* serverOf(issuer, false)
        return { resource, issuer, hasMetadata: false, server, metadata: yield* server.metadata }
      })

    /** Asks the user, and keeps the grant that the login brings. */
    const authorize = (way: Login.Way, need: Need): Effect.Effect<Redacted.Redacted, LoginFailure> =>
      Effect.gen(function* () {
        const stored = yield* binding
        const { hasMetadata, issuer, metadata, resource, server } = yield* chooseServer(
          need.challenge,
          stored
        )
        const usesCode = way.grantTypes.includes("authorization_code")
        if (hasMetadata && usesCode && options.allowUnadvertisedPkce !== true) {
          yield* Option.match(Discovery.pkceProblem(metadata), {
            onNone: () => Effect.void,
            onSome: (message) => discover.problem(serverUrl, message)
          })
        }
        const scopes = Scopes.forLogin({
          challenged: need.challenge.scopes,
          supported: resource.scopes,
          asked: Scopes.union(options.scopes ?? [], need.wanted),
          before: Option.match(stored, { onNone: () => [], onSome: ({ requested }) => requested }),
          offline: metadata.scopes_supported?.includes("offline_access") === true
        })
        const redirectUris = way.redirectUris(serverUrl)
        const registrations = Option.match(stored, { onNone: () => ({}), onSome: (b) => b.registrations })
        const clientFrom = (known: Binding.Binding["registrations"]) =>
          Effect.gen(function* () {
            const plan = Registration.plan({
              options,
              metadata,
              stored: Option.filter(
                Option.fromNullable(Object.hasOwn(known, issuer) ? known[issuer] : undefined),
                ({ clientId }) => !forgotten.has(clientId)
              ),
              redirectUris,
              grantTypes: way.grantTypes,
              now: yield* Clock.currentTimeMillis
            })
            switch (plan._tag) {
              case "Use":
                return plan.registered
              case "Refuse":
                return yield* registering.problem(serverUrl, `${plan.problem}.`)
              case "Register": {
                const made = yield* registering.register({ ...plan, serverUrl, wire, metadata, redirectUris })
                yield* report({
                  _tag: "Registered",
                  issuer,
                  clientId: made.clientId,
                  message: `Registered at ${issuer}.`
                })
                return made
              }
            }
          })
        yield* report({
          _tag: "LoginNeeded",
          reason: need.reason,
          scopes,
          message: `A login at ${Endpoint.display(serverUrl)} is needed: ${words[need.reason]}.`
        })
        const run = (registered: Registration.Registered) =>
          way.run({
            serverUrl,
            reason: need.reason,
            scopes,
            issuer,
            registered,
            options: {
              server,
              client: Registration.toClient(registered, options),
              scopes,
              resource: resource.resource,
              timeout: options.timeout,
              onEvent: options.onLoginEvent
            }
          })
        let registered = yield* clientFrom(registrations)
        const credentials: Credentials = yield* run(registered).pipe(
          // Once: a client that is registered just now and is not known is no matter of registration.
          Effect.catchIf(
            (error) => error._tag === "LoginError" && Registration.isForgotten(registered, error.oauthError),
            () =>
              Effect.gen(function* () {
                forgotten.add(registered.clientId)
                registered = yield* clientFrom({})
                return yield* run(registered)
              })
          ),
          Effect.provide(http)
        )
        const bound = Binding.attach(
          credentials,
          new Binding.Binding({
            serverUrl: serverUrl.href,
            resource: resource.resource,
            issuer,
            hasMetadata,
            requested: scopes,
            registrations: Binding.register(registrations, issuer, registered)
          })
        )
        yield* manager.save(bound, { replace: true })
        yield* report({
          _tag: "LoggedIn",
          issuer,
          scopes: bound.scopes,
          message: `Logged in at ${Endpoint.display(serverUrl)}, by ${issuer}.`
        })
        return bound.accessToken
      })

    /** The token, if it is what the need is about: another one than before, with the scopes that are wanted. */
    const metBy = (need: Need): Effect.Effect<Option.Option<Redacted.Redacted>, LoginFailure> =>
      Effect.gen(function* () {
        yield* manager.invalidate
        const current = yield* token
        if (Option.isNone(current) || isSame(need.refused, current)) return Option.none()
        const credentials = yield* manager.credentials
        const granted = Option.match(credentials, { onNone: () => [], onSome: ({ scopes }) => scopes })
        return Scopes.missing(need.lacking, granted).length > 0 ? Option.none() : current
      })

    /** One login at a time among all processes: the others wait for what it brings. */
    const inTurn = (way: Login.Way, need: Need): Effect.Effect<Redacted.Redacted, LoginFailure> =>
      Effect.gen(function* () {
        let waited = false
        while (true) {
          const turn = yield* Effect.either(lease.acquire(`${account} login`, "60 seconds"))
          const isBusy = turn._tag === "Left" && turn.left.reason === "Busy"
          if (waited || need.reason !== "Asked") {
            const met = yield* metBy(need)
            if (Option.isSome(met)) return met.value
          }
          // Where no lease can be had, two logins do no harm but to the user's patience.
          if (!isBusy) return yield* authorize(way, need)
          waited = true
          yield* Effect.sleep(lookInterval)
        }
      }).pipe(Effect.scoped)

    const logins = yield* joined.make<Redacted.Redacted, LoginFailure>()

    const ask = (need: Need): Effect.Effect<Redacted.Redacted, LoginFailure> =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (need.reason !== "Asked" && unwilling !== undefined && now < unwilling.until) {
          return yield* unwilling.error
        }
        const way = options.login
        if (way === undefined) return yield* loginRequired(serverUrl, need)
        const login = inTurn(way, need).pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              unwilling = undefined
            })
          ),
          Effect.tapErrorTag("LoginError", (error) =>
            Effect.map(Clock.currentTimeMillis, (at) => {
              if (endedByUser.includes(error.reason)) unwilling = { until: at + quietTime, error }
            })
          )
        )
        return yield* logins.run(`login ${need.lacking.join(" ")}`, login)
      })

    /** A second refusal within minutes cools down: a short one is waited for, so that the request does not fail. */
    const reject = (refused: Redacted.Redacted): Effect.Effect<Redacted.Redacted, TokenError> =>
      Effect.catchTag(manager.reject(refused), "RefreshUnavailable", (error) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const wait = Math.max(0, error.retryAt - now)
          return error.reason === "CoolingDown" && wait <= coolDownPatience
            ? Effect.delay(manager.getAccessToken, wait)
            : Effect.fail(error)
        })
      )

    const recoveries = yield* joined.make<Redacted.Redacted, LoginFailure>()

    const unauthorized: Service["unauthorized"] = (refused, wwwAuthenticate) => {
      const challenge = Discovery.challenge(wwwAuthenticate)
      const need = (reason: Login.Reason): Need => ({
        reason,
        challenge,
        wanted: [],
        lacking: [],
        refused
      })
      const recover = Effect.gen(function* () {
        const current = yield* token
        if (Option.isSome(current) && !isSame(refused, current)) return current.value
        const before = yield* binding
        if (Option.isNone(current) || Option.isNone(before)) {
          const isGone = Option.exists(Option.flatMap(before, Binding.client), ({ clientId }) =>
            forgotten.has(clientId)
          )
          return yield* ask(
            need(Option.isNone(before) ? "FirstLogin" : isGone ? "ClientForgotten" : "GrantEnded")
          )
        }
        // A server that cannot be asked has not moved.
        const found = yield* Effect.option(discover.resource(discovery, challenge.resourceMetadata))
        const hasMoved = Option.exists(
          found,
          ({ hasMetadata, resource }) => hasMetadata && !Discovery.trusts(resource, before.value.issuer)
        )
        if (hasMoved) return yield* ask(need("ServerMoved"))
        return yield* reject(current.value).pipe(
          Effect.catchAll((error) =>
            error._tag === "ReauthorizationRequired"
              ? ask(need("GrantEnded"))
              : Effect.flatMap(isForgotten(error), (gone) =>
                  gone ? ask(need("ClientForgotten")) : Effect.fail(error)
                )
          )
        )
      })
      const key = Option.match(refused, { onNone: () => "", onSome: Redacted.value })
      return recoveries.run(key, recover)
    }

    const insufficientScope: Service["insufficientScope"] = (refused, wwwAuthenticate) =>
      Effect.gen(function* () {
        const challenge = Discovery.challenge(wwwAuthenticate)
        const current = yield* token
        const credentials = yield* manager.credentials
        const granted = Option.match(credentials, { onNone: () => [], onSome: ({ scopes }) => scopes })
        const challenged = Option.getOrElse(challenge.scopes, (): Scopes.Scopes => [])
        // Another caller asked meanwhile.
        if (
          Option.isSome(current) &&
          !isSame(Option.some(refused), current) &&
          challenged.length > 0 &&
          Scopes.missing(challenged, granted).length === 0
        ) {
          return current.value
        }
        const stored = Option.flatMap(credentials, Binding.of)
        const supported = Option.isSome(challenge.scopes)
          ? Option.none<Scopes.Scopes>()
          : (yield* discover.resource(discovery, challenge.resourceMetadata)).resource.scopes
        const decision = Scopes.stepUp({
          challenged: challenge.scopes,
          supported,
          granted,
          requested: Option.match(stored, { onNone: () => [], onSome: ({ requested }) => requested }),
          tried
        })
        if (decision._tag === "Refuse") return yield* insufficient(serverUrl, decision.why, challenged)
        const { lacking, scopes: wanted } = decision
        const mark = (held: Scopes.Scopes) =>
          Effect.sync(() => {
            for (const scope of Scopes.missing(lacking, held)) tried.add(scope)
          })
        return yield* ask({
          reason: "StepUp",
          challenge,
          wanted,
          lacking,
          refused: Option.some(refused)
        }).pipe(
          Effect.tap(() =>
            Effect.flatMap(manager.credentials, (after) =>
              mark(Option.match(after, { onNone: () => [], onSome: ({ scopes }) => scopes }))
            )
          ),
          Effect.tapErrorTag("LoginError", ({ reason }) =>
            endedByUser.includes(reason) ? mark([]) : Effect.void
          )
        )
      })

    const revoke = (
      credentials: Credentials,
      { issuer, hasMetadata }: Binding.Binding,
      client: ClientAuth.Client
    ) =>
      Effect.gen(function* () {
        const server = yield* serverOf(issuer, hasMetadata)
        const metadata = yield* server.metadata
        // One that is there but cannot be used is an error: the grant would live on unnoticed.
        if (!("revocation_endpoint" in { ...metadata.unusable_fields, ...metadata })) return
        const revocation = yield* Revocation.make({ server, client, timeout: options.timeout })
        yield* revocation.revoke(credentials)
      }).pipe(Effect.provide(http))

    const logout: Service["logout"] = Effect.gen(function* () {
      const credentials = yield* manager.credentials
      const before = Option.flatMap(credentials, Binding.of)
      const client = Option.flatMap(before, Binding.client)
      if (Option.isSome(credentials) && Option.isSome(before) && Option.isSome(client)) {
        yield* revoke(credentials.value, before.value, Registration.toClient(client.value, options))
      }
      return yield* manager.clear
    })

    return {
      serverUrl,
      manager,
      logout,
      token,
      unauthorized,
      insufficientScope,
      login: ({ scopes = [] } = {}) =>
        Effect.suspend(() => {
          for (const scope of scopes) tried.delete(scope)
          return Effect.flatMap(Effect.orElseSucceed(token, Option.none<Redacted.Redacted>), (refused) =>
            ask({ reason: "Asked", challenge: Discovery.noChallenge, wanted: scopes, lacking: [], refused })
          )
        })
    }
  })

const isSame = (a: Option.Option<Redacted.Redacted>, b: Option.Option<Redacted.Redacted>): boolean =>
  Option.isSome(a) && Option.isSome(b) && Redacted.value(a.value) === Redacted.value(b.value)

const words: Readonly<Record<Login.Reason, string>> = {
  Asked: "the program asks for it",
  FirstLogin: "nobody has logged in yet",
  GrantEnded: "the grant has ended",
  ServerMoved: "the server trusts another authorization server now",
  ClientForgotten: "the authorization server does not know this client any more",
  StepUp: "the server wants more scopes than the token has"
}

const loginRequired = (serverUrl: URL, { challenge, reason, wanted }: Need): McpError => {
  const scopes = Scopes.union(
    wanted,
    Option.getOrElse(challenge.scopes, (): Scopes.Scopes => [])
  )
  return new McpError({
    reason: "LoginRequired",
    serverUrl: Endpoint.display(serverUrl),
    message: `A login at ${Endpoint.display(serverUrl)} is needed (${words[reason]}), and this program has no way to ask for one: log in elsewhere, or set \`login\`.`,
    ...(scopes.length > 0 && { scopes })
  })
}

const insufficient = (
  serverUrl: URL,
  why: "Granted" | "Asked" | "Unknown",
  scopes: Scopes.Scopes
): McpError =>
  new McpError({
    reason: "InsufficientScope",
    serverUrl: Endpoint.display(serverUrl),
    message: `${Endpoint.display(serverUrl)} wants ${scopes.length === 0 ? "scopes that it does not name" : `the scopes ${scopes.join(" ")}`}: ${whyWords[why]}.`,
    ...(scopes.length > 0 && { scopes })
  })

const whyWords = {
  Granted: "the token has them, so that another login does not help",
  Asked: "the user was asked for them, and they were not granted; log in again to ask once more",
  Unknown: "another login would bring the same token"
}

/**
 * {@link make} as a layer under a tag of its own.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFor = <Self, Id extends string>(
  tag: Context.TagClass<Self, Id, Service>,
  options: Options
): Layer.Layer<Self, OAuthConfigError, Requirements> => Layer.scoped(tag, make(options))

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<McpAuth, OAuthConfigError, Requirements> =>
  layerFor(McpAuth, options)
