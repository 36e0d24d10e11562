/** One login: chooses the authorization server and the client, asks the user, and stores the grant. */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type * as LoginEvent from "@latchkey/oauth/LoginEvent"
import type * as Server from "@latchkey/oauth/Server"
import type * as Wire from "@latchkey/oauth/Wire"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Binding from "../Binding.js"
import * as Discovery from "../Discovery.js"
import type * as Login from "../Login.js"
import { deviceGrant } from "./deviceGrant.js"
import type { LoginFailure } from "../McpError.js"
import * as Registration from "../Registration.js"
import * as Scopes from "../Scopes.js"
import * as discover from "./discover.js"
import * as event from "./event.js"
import type { Grant } from "./grant.js"
import type { Need } from "./need.js"
import * as registering from "./register.js"

/** What the program sets about its logins. */
export interface Options extends Registration.Options {
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly authorizationServer?: string | undefined
  readonly allowUnadvertisedPkce?: boolean | undefined
  readonly dpop?: boolean | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly onLoginEvent?: LoginEvent.Options["onEvent"]
}

export interface Parts {
  readonly serverUrl: URL
  readonly options: Options
  readonly grant: Grant
  readonly wire: Wire.Wire
  readonly discovery: discover.Settings
  readonly serverOf: discover.Servers
  readonly report: (event: event.McpEvent) => Effect.Effect<void>
}

/** Asks the user, and stores the grant that the login brings. */
export const authorize = (
  parts: Parts,
  way: Login.Way,
  need: Need
): Effect.Effect<Redacted.Redacted, LoginFailure, HttpClient> =>
  Effect.gen(function* () {
    const { grant, options, report, serverUrl } = parts
    const stored = yield* grant.binding
    const chosen = yield* chooseServer(parts, need.challenge, stored)
    const { hasMetadata, issuer, metadata, resource, server } = chosen
    yield* checkWay(parts, way, chosen)
    const scopes = Scopes.forLogin({
      challenged: need.challenge.scopes,
      supported: resource.scopes,
      asked: Scopes.union(options.scopes ?? [], need.wanted),
      before: Option.match(stored, { onNone: () => [], onSome: ({ requested }) => requested }),
      offline: metadata.scopes_supported?.includes("offline_access") === true
    })
    const registrations = Option.match(stored, { onNone: () => ({}), onSome: (b) => b.registrations })
    yield* report(event.loginNeeded(serverUrl, need.reason, scopes))
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
          dpop: options.dpop,
          timeout: options.timeout,
          onEvent: options.onLoginEvent
        }
      })
    let registered = yield* clientAt(parts, way, chosen, registrations)
    const credentials = yield* run(registered).pipe(
      // Only once: if the server does not know a client that it has just registered, registration does not help.
      Effect.catchIf(
        (error) => error._tag === "LoginError" && Registration.isForgotten(registered, error.oauthError),
        () =>
          Effect.gen(function* () {
            grant.forget(registered.clientId)
            registered = yield* clientAt(parts, way, chosen, {})
            return yield* run(registered)
          })
      )
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
    yield* grant.manager.save(bound, { replace: true })
    yield* report(event.loggedIn(serverUrl, issuer, bound.scopes))
    return bound.accessToken
  })

/** The authorization server of a login. */
interface Chosen {
  readonly issuer: string
  readonly resource: Discovery.ProtectedResource
  readonly server: Context.Tag.Service<Server.Server>
  readonly metadata: Server.Metadata
  /** Whether the authorization server publishes its metadata. */
  readonly hasMetadata: boolean
}

const chooseServer = (
  { discovery, options, serverOf, serverUrl }: Parts,
  challenge: Discovery.ServerChallenge,
  stored: Option.Option<Binding.Binding>
): Effect.Effect<Chosen, LoginFailure> =>
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
    // Only a server of the first specification, which has no metadata of its own either, may do without.
    if (hasMetadata || !discover.isAbsent(metadata.left)) return yield* metadata.left
    const server = yield* serverOf(issuer, false)
    return { resource, issuer, hasMetadata: false, server, metadata: yield* server.metadata }
  })

/** Fails if the authorization server does not support the way to log in. */
const checkWay = (
  { options, serverUrl }: Parts,
  { grantTypes }: Login.Way,
  { hasMetadata, metadata }: Chosen
): Effect.Effect<void, LoginFailure> => {
  const problems = [
    grantTypes.includes(deviceGrant) ? Discovery.deviceProblem(metadata) : Option.none(),
    grantTypes.includes("authorization_code") && hasMetadata && options.allowUnadvertisedPkce !== true
      ? Discovery.pkceProblem(metadata)
      : Option.none()
  ]
  return Option.match(Option.firstSomeOf(problems), {
    onNone: () => Effect.void,
    onSome: (message) => discover.problem(serverUrl, message)
  })
}

/** Returns the client for the login, and registers one first if the plan says so. */
const clientAt = (
  { grant, options, report, serverUrl, wire }: Parts,
  way: Login.Way,
  { issuer, metadata }: Chosen,
  known: Binding.Binding["registrations"]
): Effect.Effect<Registration.Registered, LoginFailure | OAuthConfigError> =>
  Effect.gen(function* () {
    const redirectUris = way.redirectUris(serverUrl)
    const plan = Registration.plan({
      options,
      metadata,
      stored: Option.filter(
        Option.fromNullable(Object.hasOwn(known, issuer) ? known[issuer] : undefined),
        ({ clientId }) => !grant.isForgotten(clientId)
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
        const made = yield* registering.register({
          ...plan,
          ...{ serverUrl, wire, metadata, redirectUris },
          grantTypes: way.grantTypes
        })
        yield* report(event.registered(issuer, made.clientId))
        return made
      }
    }
  })
