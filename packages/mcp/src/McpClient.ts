/**
 * An HTTP client for one MCP server: it sends the token, and recovers from a 401 or 403 by a refresh, a login or a
 * step-up.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as DPoP from "@latchkey/oauth/DPoP"
import { BearerAttempt, type BearerSender, BearerToken, ServerClock } from "@latchkey/oauth/internal-api"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Recovery from "./internal/recovery.js"
import { McpAuth, type Service } from "./McpAuth.js"
import type { LoginFailure } from "./McpError.js"

/**
 * An `HttpClient` whose requests also fail if there is no token.
 *
 * @since 0.1.0
 * @category models
 */
export type Client = HttpClient.HttpClient.With<HttpClientError | LoginFailure>

/**
 * The client of a program that uses one MCP server. Logins and refreshes use the plain `HttpClient`.
 *
 * @since 0.1.0
 * @category tags
 */
export class McpClient extends Context.Tag("@latchkey/mcp/McpClient")<McpClient, Client>() {}

/**
 * Wraps a client so that requests to the server's origin carry the token. Other requests are not changed.
 *
 * - After a 401, the token is replaced by a refresh or a login. After a 403 `insufficient_scope`, the user is asked for
 *   the scopes. Each happens once for a request. Then the request is sent again, unless its body is a stream, and the
 *   second response is returned.
 * - The manager learns of a token that was refused twice. It cools down if fresh tokens are refused repeatedly.
 * - A redirect is not followed with a token: wrap `HttpClient.followRedirects` around this client, not inside it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const transform = (
  auth: Service
): Effect.Effect<
  <E, R>(
    client: HttpClient.HttpClient.With<E, R>
  ) => HttpClient.HttpClient.With<E | HttpClientError | LoginFailure, R>
> =>
  Effect.map(DPoP.makeNonces, (nonces) => {
    const parts: Parts = {
      auth,
      sender: { origins: new Set([auth.serverUrl.origin]), nonces, clocks: ServerClock.make() },
      tokens: BearerToken.make(auth.manager)
    }
    return <E, R>(client: HttpClient.HttpClient.With<E, R>) =>
      HttpClient.makeWith(
        (request: Effect.Effect<HttpClientRequest, never, never>) =>
          Effect.flatMap(request, (given) => exchange(parts, client, given)),
        Effect.succeed
      )
  })

/**
 * Makes the client from the `HttpClient` in the context; see {@link transform}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (auth: Service): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  Effect.zipWith(transform(auth), HttpClient.HttpClient, (wrap, client) => wrap(client))

/**
 * Provides {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<McpClient, never, HttpClient.HttpClient | McpAuth> = Layer.effect(
  McpClient,
  Effect.flatMap(McpAuth, make)
)

/** Sends requests with a token, and removes the token from the request that callers see. */
interface Parts {
  readonly auth: Service
  readonly sender: BearerSender.Sender
  readonly tokens: BearerToken.Tokens
}

const exchange = <E, R>(
  { auth, sender, tokens }: Parts,
  client: HttpClient.HttpClient.With<E, R>,
  request: HttpClientRequest
): Effect.Effect<HttpClientResponse, E | HttpClientError | LoginFailure, R> =>
  Effect.gen(function* () {
    // A request to another origin needs no token, and must not wait for one.
    if (originOf(request).some((origin) => !sender.origins.has(origin))) return yield* client.execute(request)
    const done = new Set<Recovery.Recovery>()
    while (true) {
      const token = yield* auth.token
      const sent = yield* Option.isNone(token)
        ? Effect.map(client.execute(request), (response) => ({
            response,
            request,
            used: Option.none<BearerSender.Used>()
          }))
        : BearerAttempt.send(sender, client, request, tokens.current)
      const { response } = sent
      const refused = Option.map(sent.used, ({ credentials }) => credentials.accessToken)
      const header = response.headers["www-authenticate"]
      const recovery = originOf(response.request).some((origin) => sender.origins.has(origin))
        ? Recovery.of(response.status, header, done)
        : "Take"
      if (recovery === "Take") {
        const isRefusedAgain = done.has("Authorize") && response.status === 401
        // The manager counts refusals of fresh tokens, and stops refreshing if they repeat.
        if (isRefusedAgain && Option.isSome(refused)) yield* Effect.ignore(auth.manager.reject(refused.value))
        return response
      }
      done.add(recovery)
      const replaced =
        recovery === "StepUp" && Option.isSome(refused)
          ? auth.insufficientScope(refused.value, header)
          : auth.unauthorized(refused, header)
      if (!BearerAttempt.canBeSentAgain(sent.request)) {
        yield* Effect.ignore(replaced)
        return response
      }
      yield* Effect.andThen(BearerAttempt.discard(response), replaced)
    }
  })

/** Empty for a relative URL, which an inner client may complete. */
const originOf = ({ url }: HttpClientRequest): ReadonlyArray<string> =>
  URL.canParse(url) ? [new URL(url).origin] : []
