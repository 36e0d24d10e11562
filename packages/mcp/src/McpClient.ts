/**
 * An HTTP client for one MCP server: its requests carry the token, and what the server says against it is answered by a
 * refresh, a login or a step-up.
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as DPoP from "@latchkey/oauth/DPoP"
import { BearerSender, BearerToken, ServerClock } from "@latchkey/oauth/internal-api"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Recovery from "./internal/recovery.js"
import { McpAuth, type Service } from "./McpAuth.js"
import type { LoginFailure } from "./McpError.js"

/**
 * An `HttpClient` that may fail for want of a token.
 *
 * @since 0.1.0
 * @category models
 */
export type Client = HttpClient.HttpClient.With<HttpClientError | LoginFailure>

/**
 * The client of a program that has one MCP server. Logins and refreshes use the plain `HttpClient`.
 *
 * @since 0.1.0
 * @category tags
 */
export class McpClient extends Context.Tag("@latchkey/mcp/McpClient")<McpClient, Client>() {}

/**
 * Wraps a client so that requests to the server's origin carry the token; others pass untouched.
 *
 * - A 401 has the token replaced, by a refresh or a login; a 403 `insufficient_scope` has the user asked for the scopes.
 *   Each happens once for a request, which is then sent again, if its body can be (no stream). What the server answers
 *   then is the answer.
 * - A token that was refused twice is reported to the manager, which cools down if fresh tokens keep being refused.
 * - Redirects are not followed with a token: wrap `HttpClient.followRedirects` around this client, not inside it.
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
 * The client over the `HttpClient` in the context; see {@link transform}.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (auth: Service): Effect.Effect<Client, never, HttpClient.HttpClient> =>
  Effect.zipWith(transform(auth), HttpClient.HttpClient, (wrap, client) => wrap(client))

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<McpClient, never, HttpClient.HttpClient | McpAuth> = Layer.effect(
  McpClient,
  Effect.flatMap(McpAuth, make)
)

/** What sends a request with a token and keeps it out of what is seen afterwards. */
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
    // What goes elsewhere needs no token, and must not wait for one.
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
        : BearerSender.send(sender, client, request, tokens.current)
      const { response } = sent
      const refused = Option.map(sent.used, ({ credentials }) => credentials.accessToken)
      const header = response.headers["www-authenticate"]
      const recovery = originOf(response.request).some((origin) => sender.origins.has(origin))
        ? Recovery.of(response.status, header, done)
        : "Take"
      if (recovery === "Take") {
        const isRefusedAgain = done.has("Authorize") && response.status === 401
        // The manager counts refusals of fresh tokens, and stops refreshing where they repeat.
        if (isRefusedAgain && Option.isSome(refused)) yield* Effect.ignore(auth.manager.reject(refused.value))
        return response
      }
      done.add(recovery)
      const replaced =
        recovery === "StepUp" && Option.isSome(refused)
          ? auth.insufficientScope(refused.value, header)
          : auth.unauthorized(refused, header)
      if (!canBeSentAgain(sent.request)) {
        yield* Effect.ignore(replaced)
        return response
      }
      yield* Effect.zipRight(discard(response), replaced)
    }
  })

/** None where it is relative: a client below may complete it. */
const originOf = ({ url }: HttpClientRequest): ReadonlyArray<string> =>
  URL.canParse(url) ? [new URL(url).origin] : []

const canBeSentAgain = ({ body }: HttpClientRequest): boolean =>
  body._tag === "Raw" ? typeof body.body === "string" : body._tag !== "Stream"

/** How much of an answer that is not wanted is read, so that its connection can be used again. */
const maxDiscarded = 65_536

const discard = (response: HttpClientResponse): Effect.Effect<void> => {
  let left = maxDiscarded
  return Stream.runForEachWhile(response.stream, (chunk) =>
    Effect.sync(() => (left -= chunk.length) > 0)
  ).pipe(Effect.timeout("1 second"), Effect.ignore)
}
