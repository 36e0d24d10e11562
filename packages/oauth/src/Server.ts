/**
 * The authorization server: its endpoints, configured by hand or discovered (RFC 8414, OpenID Connect
 * Discovery).
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import { millisOf } from "@latchkey/core/TokenConfig"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import { check, checkDiscovered, invalid, type OAuthConfigError } from "./Endpoint.js"
import { cached } from "./internal/cached.js"
import * as Parsed from "./internal/metadata.js"
import { OAuthError } from "./OAuthError.js"
import * as Wire from "./Wire.js"

/**
 * A server's metadata (RFC 8414 §2). Each endpoint in it was checked. A field with an unusable value is left
 * out. It does no harm unless it is needed: then {@link endpoint} says what is wrong.
 *
 * @since 0.1.0
 * @category models
 */
export type Metadata = Parsed.Metadata

/**
 * Returns the URL of an endpoint that a request needs. Fails with an {@link OAuthError} (`Misconfigured`)
 * that says what the server's metadata has instead.
 *
 * @since 0.1.0
 * @category getters
 */
export const endpoint = (
  metadata: Metadata,
  field: Parsed.EndpointField
): Either.Either<string, OAuthError> => {
  const url = metadata[field]
  if (url !== undefined) return Either.right(url)
  const problem = metadata.unusable_fields?.[field]
  const setting = settings[field]
  return Either.left(
    new OAuthError({
      reason: "Misconfigured",
      endpoint: metadata.issuer,
      message: `${metadata.issuer} ${
        problem === undefined ? `names no ${field}` : `names one that cannot be used: ${problem}`
      }. Nothing was sent. Give the server's endpoints by hand (${setting}), or do without.`
    })
  )
}

const settings: Readonly<Record<Parsed.EndpointField, string>> = {
  token_endpoint: "server.tokenEndpoint",
  authorization_endpoint: "server.authorizationEndpoint",
  device_authorization_endpoint: "server.deviceAuthorizationEndpoint",
  revocation_endpoint: "server.revocationEndpoint",
  introspection_endpoint: "server.introspectionEndpoint",
  userinfo_endpoint: "server.userinfoEndpoint",
  pushed_authorization_request_endpoint: "server.pushedAuthorizationRequestEndpoint",
  registration_endpoint: "server.registrationEndpoint",
  jwks_uri: "server.jwksUri"
}

/**
 * Endpoints configured by hand. `issuer` is needed to check ID tokens, and is the audience of assertions.
 * Without it the token endpoint is that audience (RFC 7523 §3).
 *
 * @since 0.1.0
 * @category models
 */
export interface Endpoints {
  readonly tokenEndpoint: string
  readonly issuer?: string | undefined
  readonly authorizationEndpoint?: string | undefined
  readonly deviceAuthorizationEndpoint?: string | undefined
  readonly revocationEndpoint?: string | undefined
  readonly introspectionEndpoint?: string | undefined
  readonly userinfoEndpoint?: string | undefined
  readonly pushedAuthorizationRequestEndpoint?: string | undefined
  readonly registrationEndpoint?: string | undefined
  readonly jwksUri?: string | undefined
  /** Issuers and token endpoints that the server had before. A grant that was obtained there is accepted. */
  readonly formerly?: ReadonlyArray<string> | undefined
}

/**
 * Where an issuer's metadata may be. `oidc` appends `/.well-known/openid-configuration` to the issuer (OpenID Connect
 * Discovery §4). `oauth2` puts `/.well-known/oauth-authorization-server` before its path (RFC 8414 §3.1), and
 * `oidcInserted` puts `/.well-known/openid-configuration` there (RFC 8414 §5).
 *
 * @since 0.1.0
 * @category models
 */
export type Place = "oidc" | "oauth2" | "oidcInserted"

/**
 * A server to discover by its issuer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Discovery {
  /** Exactly as the server writes it (RFC 8414 §3.3). */
  readonly issuer: string
  /** Where to look, in this order, until a place has a document. Default: `oidc`, then `oauth2`. */
  readonly discovery?: Place | ReadonlyArray<Place> | undefined
  /**
   * Whether to accept endpoints on loopback, link-local and private addresses from an issuer that is on no
   * such address itself. Default: false. See {@link checkDiscovered}.
   */
  readonly allowPrivateEndpoints?: boolean | undefined
  /** Issuers and token endpoints that the server had before. A grant that was obtained there is accepted. */
  readonly formerly?: ReadonlyArray<string> | undefined
  /** How long the discovered metadata is used. Default: 1 hour. */
  readonly ttl?: Duration.DurationInput | undefined
  /** How long a request may take. Default and maximum: 30 s. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Server extends Context.Tag("@latchkey/oauth/Server")<
  Server,
  {
    /** The server's metadata, discovered on first use. Concurrent callers share one discovery. */
    readonly metadata: Effect.Effect<Metadata, OAuthError>
    /** None if the endpoints were configured without it. Then ID tokens cannot be checked. */
    readonly issuer: Option.Option<string>
    /** The token endpoint, if it was configured by hand. Grants are bound to it, see `GrantIdentity`. */
    readonly tokenEndpoint?: string | undefined
    readonly formerly?: ReadonlyArray<string> | undefined
  }
>() {}

/**
 * Everything that is accepted where a server is needed.
 *
 * @since 0.1.0
 * @category models
 */
export type Input = Endpoints | Discovery | Context.Tag.Service<Server>

/**
 * Returns the server for any form of input. A server that you create once and pass on shares its discovery.
 *
 * @since 0.1.0
 * @category constructors
 */
export const from = (
  input: Input
): Effect.Effect<Context.Tag.Service<Server>, OAuthConfigError, HttpClient> =>
  "metadata" in input ? Effect.succeed(input) : make(input)

/**
 * Creates a server from its endpoints or its issuer. Sends nothing yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Endpoints | Discovery
): Effect.Effect<Context.Tag.Service<Server>, OAuthConfigError, HttpClient> =>
  "tokenEndpoint" in options
    ? Effect.map(byHand(options), (metadata) =>
        Server.of({
          metadata: Effect.succeed(metadata),
          issuer: Option.fromNullable(options.issuer),
          tokenEndpoint: options.tokenEndpoint,
          formerly: options.formerly
        })
      )
    : discover(options)

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Endpoints | Discovery): Layer.Layer<Server, OAuthConfigError, HttpClient> =>
  Layer.effect(Server, make(options))

/**
 * {@link layer} from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Endpoints | Discovery>
): Layer.Layer<Server, OAuthConfigError | ConfigError.ConfigError, HttpClient> =>
  Layer.effect(Server, Effect.flatMap(Config.unwrap(options), make))

const byHand = (endpoints: Endpoints): Either.Either<Metadata, OAuthConfigError> =>
  Either.gen(function* () {
    const optional = (
      name: Exclude<keyof Endpoints, "formerly">
    ): Either.Either<string | undefined, OAuthConfigError> => {
      const value = endpoints[name]
      return value === undefined
        ? Either.right(undefined)
        : Either.map(check(`server.${name}`, value), () => value)
    }
    const metadata = {
      token_endpoint: yield* optional("tokenEndpoint"),
      authorization_endpoint: yield* optional("authorizationEndpoint"),
      device_authorization_endpoint: yield* optional("deviceAuthorizationEndpoint"),
      revocation_endpoint: yield* optional("revocationEndpoint"),
      introspection_endpoint: yield* optional("introspectionEndpoint"),
      userinfo_endpoint: yield* optional("userinfoEndpoint"),
      pushed_authorization_request_endpoint: yield* optional("pushedAuthorizationRequestEndpoint"),
      registration_endpoint: yield* optional("registrationEndpoint"),
      jwks_uri: yield* optional("jwksUri")
    }
    yield* optional("issuer")
    return {
      ...defined(metadata),
      issuer: endpoints.issuer ?? endpoints.tokenEndpoint,
      id_token_signing_alg_values_supported: signingAlgorithms
    }
  })

/**
 * The signature algorithms that are allowed for an ID token if the server's metadata does not say. None is
 * symmetric.
 */
const signingAlgorithms = [
  ...["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"]
]

const defined = <A>(record: Readonly<Record<string, A | undefined>>): Record<string, A> =>
  Object.fromEntries(Object.entries(record).filter((entry): entry is [string, A] => entry[1] !== undefined))

const discover = (
  options: Discovery
): Effect.Effect<Context.Tag.Service<Server>, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const issuer = yield* check("server.issuer", options.issuer)
    // RFC 8414 §2: an issuer has no query.
    if (issuer.search !== "")
      return yield* invalid("server.issuer", "has a query: leave out the ? and what follows")
    const wire = yield* Wire.make({ timeout: options.timeout })
    const look = (place: Place) =>
      Effect.flatMap(
        wire.send((sendOptions) =>
          place === "oidcInserted"
            ? sendOptions[oauth.customFetch](insertedConfiguration(issuer).href, documentRequest)
            : oauth.discoveryRequest(issuer, { ...sendOptions, algorithm: place })
        ),
        (answer) => readMetadata(options, answer)
      )
    const [first, ...others] = placesOf(issuer, options.discovery)
    if (first === undefined) return yield* invalid("server.discovery", "is empty: name a place to look at")
    const find = others.reduce(
      (found, place) => Effect.catchIf(found, isElsewhere, () => look(place)),
      look(first)
    )
    const ttl = millisOf(options.ttl ?? "1 hour")
    if (Number.isNaN(ttl)) return yield* invalid("server.ttl", "must be a duration, not negative")
    return Server.of({
      metadata: yield* cached(find, ttl),
      issuer: Option.some(options.issuer),
      formerly: options.formerly
    })
  })

const placesOf = (issuer: URL, asked: Discovery["discovery"]): ReadonlyArray<Place> => {
  const places: ReadonlyArray<Place> =
    asked === undefined ? ["oidc", "oauth2"] : typeof asked === "string" ? [asked] : asked
  // Without a path both are the same place.
  const same = issuer.pathname === "/" && places.includes("oidc")
  return places.filter((place) => !(same && place === "oidcInserted"))
}

const insertedConfiguration = (issuer: URL): URL =>
  new URL(`/.well-known/openid-configuration${issuer.pathname.replace(/\/$/, "")}`, issuer)

const documentRequest: Wire.FetchInit = {
  method: "GET",
  headers: { accept: "application/json" },
  body: undefined,
  redirect: "manual"
}

/** There is no such document here. There may be one at the other location. */
const isElsewhere = (error: OAuthError): boolean =>
  error.reason === "Misconfigured" && error.status !== undefined && error.status >= 400

const readMetadata = (
  { allowPrivateEndpoints, issuer }: Discovery,
  answer: Answer.Answer
): Either.Either<Metadata, OAuthError> => {
  if (Answer.isOk(answer) && answer.cut._tag === "Some") return Either.left(answer.cut.value)
  if (!Answer.isOk(answer)) return Either.left(Answer.toError(answer))
  const malformed = (problem: string) => Either.left(Answer.malformed(answer, "server metadata", problem))
  const body = Answer.json(answer)
  if (Either.isLeft(body)) return malformed(body.left)
  const document = body.right
  if (typeof document["issuer"] !== "string") return malformed("names no issuer")
  if (document["issuer"] !== issuer) {
    return Either.left(
      new OAuthError({
        reason: "Misconfigured",
        endpoint: answer.endpoint,
        status: answer.status,
        message: `${answer.endpoint} names the issuer ${answer.quote(document["issuer"])}, not ${issuer}: set the issuer exactly as the server writes it, after making sure that it is the right server (RFC 8414 §3.3).`
      })
    )
  }
  const metadata = Parsed.parse(document, issuer, (field, value) =>
    Either.mapLeft(
      checkDiscovered(field, value, new URL(issuer), { allowPrivate: allowPrivateEndpoints }),
      ({ message }) => message
    )
  )
  return Either.right({ id_token_signing_alg_values_supported: signingAlgorithms, ...metadata })
}
