/**
 * One grant from configuration alone: its server, its client and the file that stores it.
 *
 * This is the simplest way for a program with one provider. A program with several gives each its own tag and
 * prefix. For special cases, combine the same parts yourself.
 *
 * | variable | is |
 * |---|---|
 * | `OAUTH_ISSUER` | the server, to be discovered; or `OAUTH_TOKEN_ENDPOINT`, if it cannot be |
 * | `OAUTH_CLIENT_ID` | the client |
 * | `OAUTH_CLIENT_SECRET` | its secret; a public client has none |
 * | `OAUTH_CLIENT_AUTH` | how to send the secret: `basic` (default), `basic_raw` for servers that do not form-decode it, or `post` |
 * | `OAUTH_GRANT` | `refresh_token` (default) or `client_credentials`, which needs no login |
 * | `OAUTH_SCOPES` | separated by spaces; leave it out for everything that was granted |
 * | `OAUTH_TOKEN_TYPE` | `Bearer`, if the server does not state the type of its tokens |
 * | `OAUTH_ROTATION_WINDOW_SECONDS` | how long the server accepts a used refresh token again; default: not at all |
 * | `OAUTH_ALLOW_PRIVATE_ENDPOINTS` | whether the issuer's metadata may name private addresses; default `false` |
 * | `OAUTH_CREDENTIALS_FILE` | where the grant is stored; required for a user's grant; default for `client_credentials`: memory |
 * | `OAUTH_CREDENTIALS_EXPOSED` | `refuse` (default) or `accept` a file that others may read, such as a mounted secret |
 *
 * `TokenConfig.layerConfig` reads the policy from two more variables.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as RotationPolicy from "@latchkey/core/RotationPolicy"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import type { TokenRefresher } from "@latchkey/core/TokenRefresher"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as ClientAuth from "@latchkey/oauth/ClientAuth"
import * as ClientCredentials from "@latchkey/oauth/ClientCredentials"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import type * as Server from "@latchkey/oauth/Server"
import * as File from "@latchkey/storage/File"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Problems } from "@latchkey/core/internal-api"

/**
 * The values of the variables.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  readonly server: Server.Endpoints | Server.Discovery
  readonly client: ClientAuth.Client
  readonly grant: "refresh_token" | "client_credentials"
  readonly scopes: ReadonlyArray<string>
  /** The token type if the response names none. */
  readonly defaultTokenType?: string
  /** What the server does with a used refresh token. Default: it rotates, without a replay window. */
  readonly rotation?: RotationPolicy.RotationPolicy
  /**
   * Where the grant is stored. Without it the grant is in memory, because a grant that needs no login can be
   * requested again.
   */
  readonly file?: string
  /** Whether to accept a file that others may read. Default: `refuse`. */
  readonly exposed?: "refuse" | "accept"
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The prefix of the variables, including `_`. Default: `OAUTH_`. */
  readonly prefix?: string
  /** Names the provider in snapshots, metrics and profiles. */
  readonly provider?: string
  readonly policy?: TokenConfig.Options
}

/**
 * The errors of building a session.
 *
 * @since 0.1.0
 * @category errors
 */
export type SessionError = ConfigError.ConfigError | OAuthConfigError | TokenStorage.StorageError

/**
 * The settings under a prefix. A variable that is missing or wrong is a `ConfigError` that names it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const settings = (prefix = "OAUTH_"): Config.Config<Settings> => {
  const name = (variable: string) => `${prefix}${variable}`
  const text = (variable: string) =>
    Problems.textSetting(name(variable), (value) =>
      value.trim() === ""
        ? Either.left(`${name(variable)} is blank: give it a value, or leave it out`)
        : Either.right(value)
    )
  const orNone = <A>(config: Config.Config<A>) => Config.option(config)
  const all = Config.all({
    server: Problems.mapSettings(
      Config.all([
        orNone(text("ISSUER")),
        orNone(text("TOKEN_ENDPOINT")),
        Config.withDefault(oneOf(name("ALLOW_PRIVATE_ENDPOINTS"), "false", "true"), "false")
      ]),
      ([issuer, tokenEndpoint, allowPrivate]) =>
        serverOf(issuer, tokenEndpoint, allowPrivate === "true", name)
    ),
    clientId: text("CLIENT_ID"),
    secret: orNone(Config.map(text("CLIENT_SECRET"), (secret) => Redacted.make(secret))),
    auth: Config.withDefault(oneOf(name("CLIENT_AUTH"), "basic", "basic_raw", "post"), "basic"),
    tokenType: orNone(text("TOKEN_TYPE")),
    kept: Problems.mapSettings(
      Config.all({
        grant: Config.withDefault(
          oneOf(name("GRANT"), "refresh_token", "client_credentials"),
          "refresh_token"
        ),
        file: orNone(text("CREDENTIALS_FILE")),
        window: orNone(seconds(name("ROTATION_WINDOW_SECONDS")))
      }),
      (kept) => {
        if (kept.grant === "refresh_token" && Option.isNone(kept.file)) {
          return Either.left(
            Problems.missingSetting(
              [name("CREDENTIALS_FILE")],
              `Give ${name("CREDENTIALS_FILE")}, the file that keeps the grant: without it, each start needs a login`
            )
          )
        }
        if (kept.grant === "client_credentials" && Option.isSome(kept.window)) {
          return Either.left(
            Problems.invalidSetting(
              [name("ROTATION_WINDOW_SECONDS")],
              `${name("ROTATION_WINDOW_SECONDS")} has no effect with ${name("GRANT")} client_credentials, which has no refresh token: leave it out`
            )
          )
        }
        return Either.right(kept)
      }
    ),
    scopes: Config.withDefault(text("SCOPES"), ""),
    exposed: Config.withDefault(oneOf(name("CREDENTIALS_EXPOSED"), "refuse", "accept"), "refuse")
  })
  return Problems.mapSettings(
    all,
    ({ auth, clientId, exposed, kept: { file, grant, window }, scopes, secret, server, tokenType }) =>
      Either.gen(function* () {
        if (grant === "client_credentials" && Option.isNone(secret)) {
          return yield* Either.left(
            Problems.missingSetting(
              [name("CLIENT_SECRET")],
              `${name("GRANT")} is client_credentials, which needs a secret`
            )
          )
        }
        return {
          server,
          client: Option.match(secret, {
            onNone: (): ClientAuth.Client => ({ clientId }),
            onSome: (value) => ({ clientId, auth: authOf(auth, value) })
          }),
          grant,
          scopes: scopes.split(/\s+/).filter((scope) => scope !== ""),
          ...(Option.isSome(tokenType) && { defaultTokenType: tokenType.value }),
          ...(Option.isSome(window) && { rotation: RotationPolicy.rotating(window.value) }),
          ...(Option.isSome(file) && { file: file.value }),
          ...(exposed === "accept" && { exposed })
        }
      })
  )
}

/**
 * Provides the session of a program that has one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Options = {}
): Layer.Layer<TokenManager.TokenManager, SessionError, HttpClient> =>
  layerConfigFor(TokenManager.TokenManager, options)

/**
 * Provides a session under its own tag: one of several, each with its own prefix.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfigFor = <Self, Id extends string>(
  tag: Context.TagClass<Self, Id, TokenManager.Manager>,
  options: Options = {}
): Layer.Layer<Self, SessionError, HttpClient> =>
  Layer.unwrapEffect(
    Effect.map(settings(options.prefix), (found) =>
      Layer.provide(
        layerOver(tag, found, options),
        found.file === undefined
          ? Layer.merge(TokenStorage.layerMemory, RefreshLease.layerProcess)
          : File.layer({ path: found.file, exposed: found.exposed ?? "refuse" })
      )
    )
  )

/**
 * Provides a session whose credentials and leases use the services in context instead of the file.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerOver = <Self, Id extends string>(
  tag: Context.TagClass<Self, Id, TokenManager.Manager>,
  found: Settings,
  options: Options = {}
): Layer.Layer<Self, SessionError, HttpClient | TokenStorage.TokenStorage | RefreshLease.RefreshLease> =>
  TokenManager.layerFor(tag, options.provider === undefined ? {} : { provider: options.provider }).pipe(
    Layer.provide(refresherOf(found)),
    Layer.provide(TokenConfig.layerConfig(options.policy))
  )

/** Not `Config.literal`, which quotes its input: a secret may be in the wrong variable. */
const oneOf = <A extends string>(variable: string, ...choices: ReadonlyArray<A>): Config.Config<A> =>
  Problems.textSetting(variable, (value) =>
    Either.fromNullable(
      choices.find((choice) => choice === value),
      () => `${variable} is neither ${choices.join(" nor ")}`
    )
  )

/** Does not quote its input either. */
const seconds = (variable: string): Config.Config<Duration.Duration> =>
  Problems.textSetting(variable, (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text)
    return Number.isFinite(value) && value >= 0
      ? Either.right(Duration.seconds(value))
      : Either.left(`${variable} must be a number of seconds, finite and not negative`)
  })

const refresherOf = ({
  client,
  defaultTokenType,
  grant,
  rotation,
  scopes,
  server
}: Settings): Layer.Layer<TokenRefresher, OAuthConfigError, HttpClient> =>
  grant === "refresh_token"
    ? RefreshToken.layer({ server, client, scopes, defaultTokenType, rotation })
    : ClientCredentials.layer({ server, client, scopes, defaultTokenType })

const serverOf = (
  issuer: Option.Option<string>,
  tokenEndpoint: Option.Option<string>,
  allowPrivateEndpoints: boolean,
  name: (variable: string) => string
): Either.Either<Settings["server"], ConfigError.ConfigError> => {
  if (Option.isSome(tokenEndpoint)) {
    if (allowPrivateEndpoints) {
      return Either.left(
        Problems.invalidSetting(
          [name("ALLOW_PRIVATE_ENDPOINTS")],
          `${name("ALLOW_PRIVATE_ENDPOINTS")} has no effect with ${name("TOKEN_ENDPOINT")}, which may be on a private address anyway: leave it out`
        )
      )
    }
    return Either.right({ tokenEndpoint: tokenEndpoint.value, issuer: Option.getOrUndefined(issuer) })
  }
  return Either.fromOption(
    Option.map(issuer, (value) => ({
      issuer: value,
      ...(allowPrivateEndpoints && { allowPrivateEndpoints })
    })),
    () => Problems.missingSetting([name("ISSUER")], `Give ${name("ISSUER")}, or ${name("TOKEN_ENDPOINT")}`)
  )
}

const authOf = (auth: "basic" | "basic_raw" | "post", secret: Redacted.Redacted): ClientAuth.ClientAuth =>
  ({ basic: ClientAuth.basic, basic_raw: ClientAuth.basicRaw, post: ClientAuth.post })[auth](secret)
