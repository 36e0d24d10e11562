/**
 * A provider as data: its server, the client, what a login requests, how a grant is renewed, where its
 * credentials are stored, and where its profile comes from.
 *
 * It is written as {@link Settings}, the JSON form of both built-in providers and your own, and used as a
 * {@link Provider}, in which everything has a value.
 *
 * @since 0.1.0
 */
import type { RotationPolicy } from "@latchkey/core/TokenRefresher"
import type { ErrorRule } from "@latchkey/oauth/ErrorRule"
import type { Discovery, Endpoints } from "@latchkey/oauth/Server"
import type * as WorkloadIdentity from "@latchkey/oauth/WorkloadIdentity"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Reading from "./internal/reading.js"
import * as Durations from "./internal/durations.js"
import * as Settings from "./ProviderSettings.js"

/**
 * A way to get the first grant.
 *
 * @since 0.1.0
 * @category models
 */
export type Login = (typeof Settings.Login)["Type"]

/**
 * How the client authenticates, in the terms of `ClientAuth` of `@latchkey/oauth`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  /** Undefined if the user must provide one. Until then everything but reading fails with `NoClient`. */
  readonly clientId: string | undefined
  readonly authentication: NonNullable<Settings.Settings["client"]>["authentication"] & string
  readonly secret: Redacted.Redacted | undefined
  /** Where its assertion is from, for the authentication `assertion`. */
  readonly assertion?: WorkloadIdentity.Source | undefined
}

/**
 * What a login requests, and the ways to log in. The first one is tried first.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoginSettings {
  readonly ways: ReadonlyArray<Login>
  readonly redirectUri: string | undefined
  readonly manualRedirectUri: string | undefined
  readonly authorizationParameters: Readonly<Record<string, string>>
  readonly deviceParameters: Readonly<Record<string, string>>
  readonly sendState: boolean
  /** Whether to push the request first (RFC 9126). Undefined: if the server's metadata requires it. */
  readonly pushAuthorizationRequest: boolean | undefined
  /**
   * Whether to send `prompt=consent` with the scope `offline_access`. Undefined: yes, unless the server is
   * known not to want it.
   */
  readonly promptForConsent: boolean | undefined
  /** Whether a login without a refresh token causes a warning. Undefined: use the default for the server. */
  readonly expectsRefreshToken: boolean | undefined
}

/**
 * Where this server's token endpoint departs from the standard.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenSettings {
  readonly encoding: "form" | "json"
  readonly parameters: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  /** The token type if the response names none. */
  readonly defaultType: string | undefined
  /** The token type, whatever the response says. */
  readonly type: string | undefined
  readonly scopeSeparator: string
  readonly expiry: "response" | "accessToken"
  readonly deadCodes: ReadonlyArray<string>
  /** What errors mean that the server does not express in the terms of OAuth. */
  readonly errors: ReadonlyArray<ErrorRule>
}

/**
 * How a grant is renewed.
 *
 * - `refreshToken`: the refresh grant (RFC 6749 §6).
 * - `exchange`: a long-lived token, stored as the refresh token, is exchanged for a short-lived one.
 * - `clientCredentials`: a new token each time.
 * - `none`: not at all.
 *
 * @since 0.1.0
 * @category models
 */
export type Refresh =
  | {
      readonly by: "refreshToken"
      readonly sendScopes: boolean
      /** The scopes to send. Undefined: all of the provider's. */
      readonly scopes?: ReadonlyArray<string> | undefined
      /** After how many milliseconds an unused grant is refreshed. Undefined: never. */
      readonly keepAlive?: number | undefined
    }
  | {
      readonly by: "exchange"
      readonly endpoint: string
      readonly headers: Readonly<Record<string, string>>
      readonly token: string
      readonly expiresAt: string
      readonly refreshIn: string
    }
  | { readonly by: "clientCredentials" }
  | { readonly by: "none" }

/**
 * Where an account is named: in the token response, or in a claim of one of its tokens. `path` is the list of
 * keys that lead to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface AccountSettings {
  readonly from: "response" | "idToken" | "accessToken"
  readonly path: ReadonlyArray<string>
}

/**
 * The file in which the provider's own program keeps its credentials, and the keychain item that it may use
 * instead.
 *
 * @since 0.1.0
 * @category models
 */
export interface CredentialsSettings {
  readonly format: "latchkey" | "claude" | "codex" | "copilot" | "gemini"
  /** `~` is the home directory. */
  readonly file: string
  /** The environment variable that names the file's directory, as the provider's own program reads it. */
  readonly directoryVariable: string | undefined
  /** The Unicode form to which its program converts the path of that directory. */
  readonly directoryForm: "NFC" | "NFD" | undefined
  readonly keychainService: string | undefined
  /** The item's account, if the user's name is not one that its program accepts. */
  readonly keychainAccount: string | undefined
  /** How its program distinguishes the items of its directories. See `OwnStorage.locate`. */
  readonly keychainName: "user" | "directory"
  /** Whether the keychain is used. Undefined: on macOS. */
  readonly keychain: boolean | undefined
  /** Where the provider's own program stores its choice between the two, instead of `keychain`. */
  readonly storeSetting: { readonly file: string; readonly key: string } | undefined
  /**
   * The locks of the provider's own program, by their names in the file's directory. `stale` is in
   * milliseconds.
   */
  readonly locks: ReadonlyArray<{
    readonly path: string
    readonly kind: "directory" | "kernel"
    readonly during: "refresh" | "write" | "both"
    readonly stale: number
  }>
  /** Files of other programs to import a grant from, in the order in which they are tried. */
  readonly importFrom: ReadonlyArray<string>
}

/**
 * Where the profile comes from.
 *
 * - `userinfo`: the OpenID Connect endpoint.
 * - `endpoint`: a JSON document of the provider's own; the paths lead into it.
 * - `idToken`: the ID token's claims.
 * - `none`: only the account.
 *
 * @since 0.1.0
 * @category models
 */
export interface ProfileSettings {
  readonly from: "userinfo" | "endpoint" | "idToken" | "none"
  readonly endpoint: string | undefined
  /** Where the provider's own program stores the response. `~` is the home directory. */
  readonly file: string | undefined
  /** The token of the grant that is sent to it. */
  readonly token: "accessToken" | "refreshToken"
  readonly headers: Readonly<Record<string, string>>
  readonly accountId: ReadonlyArray<string>
  readonly email: ReadonlyArray<string>
  /** Several paths: the first one with a value counts. */
  readonly displayName: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * A provider with all its settings.
 *
 * @since 0.1.0
 * @category models
 */
export class Provider extends Data.Class<{
  readonly id: string
  readonly displayName: string
  /** The name in snapshots and profiles. */
  readonly name: string
  readonly server: Endpoints | Discovery
  readonly client: Client
  readonly scopes: ReadonlyArray<string>
  readonly login: LoginSettings
  readonly token: TokenSettings
  readonly refresh: Refresh
  readonly rotation: RotationPolicy
  readonly account: AccountSettings | undefined
  /** Undefined: the credentials are wherever the program keeps those of other providers. */
  readonly credentials: CredentialsSettings | undefined
  readonly profile: ProfileSettings
}> {}

/**
 * A problem with a provider. The message says where it is, and what to do. It holds no secret.
 *
 * - `Unknown`: there is no provider of this name.
 * - `Malformed`: its settings, or the file that they are in, are invalid.
 * - `NoClient`: it needs a client ID, or a secret, that was not given.
 * - `NotOffered`: it does not support the request.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProviderError extends Schema.TaggedError<ProviderError>("@latchkey/providers/ProviderError")(
  "ProviderError",
  {
    reason: Schema.Literal("Unknown", "Malformed", "NoClient", "NotOffered"),
    provider: Schema.String,
    message: Schema.String
  }
) {}

/**
 * Creates a provider from its settings. `where` names their source in errors.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSettings = (
  id: string,
  settings: unknown,
  where = `the provider ${id}`
): Either.Either<Provider, ProviderError> =>
  Either.gen(function* () {
    const malformed = (message: string) => new ProviderError({ reason: "Malformed", provider: id, message })
    if (!Settings.isId(id)) {
      return yield* Either.left(
        malformed(
          `In ${where}, the id is not valid: use lower-case letters, digits and hyphens, beginning with a letter.`
        )
      )
    }
    const s = yield* Either.mapLeft(Reading.decode(Settings.Settings, settings), (problem) =>
      malformed(`In ${where}, ${problem}.`)
    )
    const server = yield* Either.mapLeft(serverOf(s.server ?? {}), (problem) =>
      malformed(`In ${where}, ${problem}.`)
    )
    const refresh = yield* Either.mapLeft(refreshOf(s.refresh ?? {}), (problem) =>
      malformed(`In ${where}, ${problem}.`)
    )
    if (s.client?.authentication === "assertion" && s.client.assertion === undefined) {
      return yield* Either.left(malformed(`In ${where}, client.assertion is missing.`))
    }
    const profile = profileOf(s.profile)
    if (profile.from === "endpoint" && profile.endpoint === undefined) {
      return yield* Either.left(malformed(`In ${where}, profile.endpoint is missing.`))
    }
    return new Provider({
      id,
      displayName: s.displayName ?? id,
      name: s.name ?? id,
      server,
      client: {
        clientId: s.client?.id,
        authentication: s.client?.authentication ?? authenticationOf(s.client ?? {}),
        secret: s.client?.secret,
        assertion: s.client?.assertion
      },
      scopes: s.scopes ?? [],
      login: loginOf(s.login ?? {}),
      token: tokenOf(s.token ?? {}),
      refresh,
      rotation: rotationOf(s.rotation ?? {}),
      account: s.account && { from: s.account.from ?? "response", path: s.account.path },
      credentials: s.credentials && {
        format: s.credentials.format ?? "latchkey",
        file: s.credentials.file,
        directoryVariable: s.credentials.directoryVariable,
        directoryForm: s.credentials.directoryForm,
        keychainService: s.credentials.keychainService,
        keychainAccount: s.credentials.keychainAccount,
        keychainName: s.credentials.keychainName ?? "user",
        keychain: s.credentials.keychain,
        storeSetting: s.credentials.storeSetting,
        locks: (s.credentials.locks ?? []).map(({ stale = "60 seconds", ...lock }) => ({
          ...lock,
          stale: Option.match(Durations.fromText(stale), {
            onNone: () => 60_000,
            onSome: Duration.toMillis
          })
        })),
        importFrom: s.credentials.importFrom ?? []
      },
      profile
    })
  })

type Part<Key extends keyof Settings.Settings> = NonNullable<Settings.Settings[Key]>

const authenticationOf = ({ assertion, secret }: Part<"client">): Client["authentication"] => {
  if (assertion !== undefined) return "assertion"
  return secret === undefined ? "none" : "basic"
}

const serverOf = (server: Part<"server">): Either.Either<Endpoints | Discovery, string> => {
  const { allowPrivateEndpoints, discovery, formerly, issuer, tokenEndpoint, ...endpoints } = server
  if (tokenEndpoint !== undefined) return Either.right({ tokenEndpoint, issuer, formerly, ...endpoints })
  if (issuer === undefined) {
    return Either.left("server names neither issuer nor tokenEndpoint: give one of them")
  }
  const given = Object.keys(endpoints)[0]
  return given === undefined
    ? Either.right({ issuer, discovery, formerly, allowPrivateEndpoints })
    : Either.left(
        `server.${given} needs a tokenEndpoint: set it too, or leave both to the metadata of the issuer`
      )
}

const loginOf = (login: Part<"login">): LoginSettings => ({
  ways: login.ways ?? ["browser", "manual"],
  redirectUri: login.redirectUri,
  manualRedirectUri: login.manualRedirectUri,
  authorizationParameters: login.authorizationParameters ?? {},
  deviceParameters: login.deviceParameters ?? {},
  sendState: login.sendState ?? false,
  pushAuthorizationRequest: login.pushAuthorizationRequest,
  promptForConsent: login.promptForConsent,
  expectsRefreshToken: login.expectsRefreshToken
})

const tokenOf = (token: Part<"token">): TokenSettings => ({
  encoding: token.encoding ?? "form",
  parameters: token.parameters ?? {},
  headers: token.headers ?? {},
  defaultType: token.defaultType,
  type: token.type,
  scopeSeparator: token.scopeSeparator ?? " ",
  expiry: token.expiry ?? "response",
  deadCodes: token.deadCodes ?? [],
  errors: token.errors ?? []
})

const refreshOf = (refresh: Part<"refresh">): Either.Either<Refresh, string> => {
  const { by = "refreshToken" } = refresh
  if (by === "refreshToken") {
    const keepAlive = Option.getOrUndefined(
      Option.fromNullable(refresh.keepAlive).pipe(
        Option.flatMap((text) => Duration.decodeUnknown(text as Duration.DurationInput)),
        Option.map(Duration.toMillis)
      )
    )
    return keepAlive !== undefined && keepAlive < Duration.toMillis(Duration.days(1))
      ? Either.left("refresh.keepAlive is shorter than a day: give a longer time, or leave it out")
      : Either.right({ by, sendScopes: refresh.sendScopes ?? false, scopes: refresh.scopes, keepAlive })
  }
  if (by !== "exchange") return Either.right({ by })
  const { endpoint } = refresh
  return endpoint === undefined
    ? Either.left("refresh.endpoint is missing: set the address of the exchange")
    : Either.right({
        by,
        endpoint,
        headers: refresh.headers ?? {},
        token: refresh.token ?? "token",
        expiresAt: refresh.expiresAt ?? "expires_at",
        refreshIn: refresh.refreshIn ?? "refresh_in"
      })
}

const rotationOf = (rotation: Part<"rotation">): RotationPolicy =>
  rotation.policy === "reusable"
    ? { _tag: "Reusable" }
    : {
        _tag: "Rotating",
        window: Option.getOrElse(Durations.fromText(rotation.window ?? ""), () => Duration.zero)
      }

const profileOf = (profile: Settings.Settings["profile"]): ProfileSettings => ({
  from: profile?.from ?? (profile?.endpoint === undefined ? "none" : "endpoint"),
  endpoint: profile?.endpoint,
  file: profile?.file,
  token: profile?.token ?? "accessToken",
  headers: profile?.headers ?? {},
  accountId: profile?.accountId ?? ["sub"],
  email: profile?.email ?? ["email"],
  displayName: profile?.displayName ?? [["name"]]
})
