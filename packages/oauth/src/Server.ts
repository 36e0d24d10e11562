/**
 * The authorization server: its endpoints, given by hand or discovered (RFC 8414, OpenID Connect Discovery).
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
 * What a server says of itself, as RFC 8414 §2 names it. Each endpoint in it was checked. A field whose value
 * cannot be used is left out, and does no harm unless it is needed: {@link endpoint} says then what is wrong.
 *
 * @since 0.1.0
 * @category models
 */
export type Metadata = Parsed.Metadata

/**
 * The URL of an endpoint that a request needs, or an {@link OAuthError} (`Misconfigured`) that says what the server's
 * metadata has in its place.
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
 * Endpoints given by hand. `issuer` is wanted where id tokens are to be checked and as the audience of
 * assertions; without it the token endpoint is that audience (RFC 7523 §3).
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
  /** Issuers and token endpoints that the server had before: a grant that was obtained there is used here. */
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
 * A server to be discovered by its issuer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Discovery {
  /** As the server writes it, to the letter (RFC 8414 §3.3). */
  readonly issuer: string
  /** Where to look, in this order, until a place has a document; `oidc`, then `oauth2`, unless given. */
  readonly discovery?: Place | ReadonlyArray<Place> | undefined
  /**
   * Whether endpoints on loopback, link-local and private addresses are accepted from an issuer that is on no such
   * address itself; false. See {@link checkDiscovered}.
   */
  readonly allowPrivateEndpoints?: boolean | undefined
  /** Issuers and token endpoints that the server had before: a grant that was obtained there is used here. */
  readonly formerly?: ReadonlyArray<string> | undefined
  /** How long what was found is used; 1 hour. */
  readonly ttl?: Duration.DurationInput | undefined
  /** How long a request may take; 30 s, which is also the most. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Server extends Context.Tag("@latchkey/oauth/Server")<
  Server,
  {
    /** What is known of the server; discovered on first use, once for all who ask at that time. */
    readonly metadata: Effect.Effect<Metadata, OAuthError>
    /** None where the endpoints were given without it: then id tokens cannot be checked. */
    readonly issuer: Option.Option<string>
    /** The token endpoint, where it was given by hand: grants are bound to it, see `GrantIdentity`. */
    readonly tokenEndpoint?: string | undefined
    readonly formerly?: ReadonlyArray<string> | undefined
  }
>() {}

/**
 * What takes a server takes either of these.
 *
 * @since 0.1.0
 * @category models
 */
export type Input = Endpoints | Discovery | Context.Tag.Service<Server>

/**
 * The server itself from whatever names it. Servers made once and handed on share their discovery.
 *
 * @since 0.1.0
 * @category constructors
 */
export const from = (
  input: Input
): Effect.Effect<Context.Tag.Service<Server>, OAuthConfigError, HttpClient> =>
  "metadata" in input ? Effect.succeed(input) : make(input)

/**
 * A server from its endpoints or its issuer. Nothing is sent yet.
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

/** What an id token may be signed with where the server's metadata does not say; nothing symmetric. */
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
    // RFC 8414 §2: an issuer has no query either.
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

/** There is no such document here; there may be one at the other place. */
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
