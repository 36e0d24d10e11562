/**
 * Asks the authorization server about the present state of a token (RFC 7662).
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import { millisOf } from "@latchkey/core/TokenConfig"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as oauth from "oauth4webapi"
import * as Answer from "./Answer.js"
import * as ClientAuth from "./ClientAuth.js"
import { invalid, type OAuthConfigError } from "./Endpoint.js"
import * as SignedSender from "./internal/signedSender.js"
import type { OAuthError } from "./OAuthError.js"
import * as Server from "./Server.js"
import * as Wire from "./Wire.js"

/**
 * Only `active` is guaranteed (§2.2). The rest is up to the server.
 *
 * @since 0.1.0
 * @category models
 */
export class TokenInfo extends Data.Class<{
  readonly active: boolean
  /** Epoch milliseconds. */
  readonly expiresAt: Option.Option<number>
  readonly scopes: ReadonlyArray<string>
  readonly subject: Option.Option<string>
  readonly clientId: Option.Option<string>
  /** The whole response. */
  readonly claims: Readonly<Record<string, unknown>>
}> {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly server: Server.Input
  readonly client: ClientAuth.Client
  /**
   * How long an active token counts as active without another request, never past its `exp`. Default: no
   * cache.
   */
  readonly cacheTtl?: Duration.DurationInput | undefined
  /** How long a request may take. Default and maximum: 30 s. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * The port.
 *
 * @since 0.1.0
 * @category tags
 */
export class Introspection extends Context.Tag("@latchkey/oauth/Introspection")<
  Introspection,
  {
    /**
     * Returns the state of a token. A token whose `exp` has passed is not active, whatever the server says.
     */
    readonly introspect: (
      token: Redacted.Redacted,
      hint?: "access_token" | "refresh_token"
    ) => Effect.Effect<TokenInfo, OAuthError>
  }
>() {}

const maxCached = 1000

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Context.Tag.Service<Introspection>, OAuthConfigError, HttpClient> =>
  Effect.gen(function* () {
    const wire = yield* Wire.make({ timeout: options.timeout })
    const server = yield* Server.from(options.server)
    const auth = yield* ClientAuth.authenticate(options.client)
    const sender = SignedSender.make(wire, options.client.auth)
    const ttl = millisOf(options.cacheTtl ?? 0)
    if (Number.isNaN(ttl)) return yield* invalid("cacheTtl", "must be a duration, not negative")
    const cache = new Map<
      string,
      { readonly info: TokenInfo; readonly from: number; readonly until: number }
    >()

    const ask = (token: Redacted.Redacted, hint: string | undefined) =>
      Effect.gen(function* () {
        const metadata = yield* server.metadata
        const endpoint = yield* Server.endpoint(metadata, "introspection_endpoint")
        const answer = yield* sender.send(endpoint, auth.client, (client, common) =>
          oauth.introspectionRequest(metadata, client, auth.method, Redacted.value(token), {
            ...common,
            ...(hint !== undefined && { additionalParameters: { token_type_hint: hint } })
          })
        )
        return yield* read(answer)
      })

    return Introspection.of({
      introspect: (token, hint) =>
        Effect.gen(function* () {
          const key = Fingerprint.sha256(new TextEncoder().encode(Redacted.value(token)))
          const known = cache.get(key)
          const asked = yield* Clock.currentTimeMillis
          // Ignores a value from before the clock was set back, which would otherwise stay for as long as the
          // clock was set back.
          if (known !== undefined && asked >= known.from && asked < known.until) return known.info
          cache.delete(key)
          const info = yield* ask(token, hint)
          const now = yield* Clock.currentTimeMillis
          const until = Math.min(
            now + ttl,
            Option.getOrElse(info.expiresAt, () => Number.POSITIVE_INFINITY)
          )
          if (info.active && until > now) {
            cache.set(key, { info, from: now, until })
            for (const [oldest] of cache) if (cache.size > maxCached) cache.delete(oldest)
          }
          return info
        })
    })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Introspection, OAuthConfigError, HttpClient> =>
  Layer.effect(Introspection, make(options))

/**
 * {@link layer} from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Introspection, OAuthConfigError | ConfigError.ConfigError, HttpClient> =>
  Layer.effect(Introspection, Effect.flatMap(Config.unwrap(options), make))

const read = (answer: Answer.Answer): Either.Either<TokenInfo, OAuthError> => {
  if (!Answer.isOk(answer)) return Either.left(Answer.toError(answer))
  if (Option.isSome(answer.cut)) return Either.left(answer.cut.value)
  const malformed = (problem: string) =>
    Either.left(Answer.malformed(answer, "introspection response", problem))
  const body = Answer.json(answer)
  if (Either.isLeft(body)) return malformed(body.left)
  const { active, exp, scope, sub, client_id: clientId } = body.right
  if (typeof active !== "boolean") return malformed("does not say whether the token is active")
  if (exp !== undefined && (typeof exp !== "number" || !Number.isFinite(exp))) {
    return malformed("has an exp that is not a number")
  }
  const expiresAt = Option.map(Option.fromNullable(exp), (seconds) => seconds * 1000)
  const expired = Option.exists(expiresAt, (end) => end <= answer.receivedAt)
  return Either.right(
    new TokenInfo({
      active: active && !expired,
      expiresAt,
      scopes: typeof scope === "string" ? scope.split(" ").filter((s) => s !== "") : [],
      subject: text(sub),
      clientId: text(clientId),
      claims: body.right
    })
  )
}

const text = Option.liftPredicate(
  (value: unknown): value is string => typeof value === "string" && value !== ""
)
