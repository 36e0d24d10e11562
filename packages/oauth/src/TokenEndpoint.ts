/**
 * The token endpoint (RFC 6749 §3.2): one request, any grant type, and credentials or a sorted failure.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials, Extras } from "@latchkey/core/Credentials"
import { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as oauth from "oauth4webapi"
import * as ClientAuth from "./ClientAuth.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import { toRefreshError } from "./OAuthError.js"
import * as Server from "./Server.js"
import * as TokenResponse from "./TokenResponse.js"
import * as Wire from "./Wire.js"

/**
 * What all grants have in common.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly server: Server.Input
  readonly client: ClientAuth.Client
  /** How the body is written; `form` unless the server wants `json`. */
  readonly encoding?: Wire.Encoding | undefined
  /** Parameters that the server wants beside the standard ones. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /** Headers that the server wants; `authorization` and `dpop` are not for here. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Where the provider names the account in its response; an answer for another one is refused. */
  readonly accountId?: ((response: Extras) => Option.Option<string>) | undefined
  /** Error codes that end a grant with this server, beside `invalid_grant`. */
  readonly deadCodes?: ReadonlyArray<string> | undefined
  /** How long a request may take; 30 s, which is also the most. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * What one request asks: the grant type and its parameters; a list is sent as a repeated parameter.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly grantType: string
  readonly parameters: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  /** The credentials that the answer is merged into. */
  readonly previous: Option.Option<Credentials>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface TokenEndpoint {
  readonly request: (request: Request) => Effect.Effect<Credentials, RefreshError>
}

/**
 * A token endpoint over the `HttpClient` in the context.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<TokenEndpoint, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const wire = yield* Wire.make({ timeout: options.timeout })
    const server = yield* Server.from(options.server)
    if (options.client.clientId === "") return yield* invalid("client.clientId", "is empty")
    const auth = yield* ClientAuth.toOAuth(options.client.auth ?? ClientAuth.none)

    const request = ({ grantType, parameters, previous }: Request) =>
      Effect.gen(function* () {
        const metadata = yield* Effect.mapError(server.metadata, (e) => toRefreshError(e, Option.none()))
        const client: oauth.Client = {
          client_id: options.client.clientId,
          [oauth.clockSkew]: yield* Wire.clockSkew
        }
        const requestedAt = yield* Clock.currentTimeMillis
        const answer = yield* Effect.mapError(
          wire.send(
            (sendOptions) =>
              oauth.genericTokenEndpointRequest(
                metadata,
                client,
                auth,
                grantType,
                toParameters({ ...parameters, ...options.parameters }),
                { ...sendOptions, ...(options.headers !== undefined && { headers: { ...options.headers } }) }
              ),
            options.encoding
          ),
          (e) => toRefreshError(e, Option.none())
        )
        const accepted = yield* TokenResponse.judge(answer, {
          previous,
          requestedAt,
          tokenTypes: ["bearer"],
          accountId: options.accountId,
          deadCodes: options.deadCodes
        })
        return accepted.credentials
      })
    return { request }
  })

const toParameters = (parameters: Request["parameters"]): URLSearchParams =>
  new URLSearchParams(
    Object.entries(parameters).flatMap(([name, value]) =>
      (value === undefined ? [] : typeof value === "string" ? [value] : value).map((v): [string, string] => [
        name,
        v
      ])
    )
  )
