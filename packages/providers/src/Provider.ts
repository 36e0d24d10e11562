/**
 * A provider as data: its server, the client, what a login asks for, how a grant is renewed, where its
 * credentials live, and where its profile comes from.
 *
 * It is written as {@link Settings}, the JSON form in which built-in providers and a user's own are alike,
 * and used as a {@link Provider}, where everything has a value.
 *
 * @since 0.1.0
 */
import type { RotationPolicy } from "@latchkey/core/TokenRefresher"
import type { ErrorRule } from "@latchkey/oauth/ErrorRule"
import type { Discovery, Endpoints } from "@latchkey/oauth/Server"
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
 * How the client shows who it is: what `ClientAuth` of `@latchkey/oauth` knows.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  /** None where the user must bring one: then all but reading fails with `NoClient`. */
  readonly clientId: string | undefined
  readonly authentication: NonNullable<Settings.Settings["client"]>["authentication"] & string
  readonly secret: Redacted.Redacted | undefined
}

/**
 * What a login asks for, and by which ways; the first is the one to try first.
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
  /** Whether the request is pushed first (RFC 9126); undefined: if the server's metadata requires it. */
  readonly pushAuthorizationRequest: boolean | undefined
  /** Whether `prompt=consent` goes with the scope `offline_access`; undefined: unless the server is known to want none. */
  readonly promptForConsent: boolean | undefined
  /** Whether a login without a refresh token is worth a warning; undefined: as is known of the server. */
  readonly expectsRefreshToken: boolean | undefined
}

/**
 * What this server's token endpoint wants and answers beside the standard.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenSettings {
  readonly encoding: "form" | "json"
  readonly parameters: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  /** What a token is where the answer does not say. */
  readonly defaultType: string | undefined
  readonly scopeSeparator: string
  readonly expiry: "response" | "accessToken"
  readonly deadCodes: ReadonlyArray<string>
  /** What errors mean that the server does not put in the words of OAuth. */
  readonly errors: ReadonlyArray<ErrorRule>
}

/**
 * How a grant is renewed. `refreshToken`: the refresh grant (RFC 6749 §6). `exchange`: a long-lived token, kept
 * as the refresh token, is shown to get a short-lived one. `clientCredentials`: a new token each time.
 * `none`: not at all.
 *
 * @since 0.1.0
 * @category models
 */
export type Refresh =
  | {
      readonly by: "refreshToken"
      readonly sendScopes: boolean
      /** Those that it sends; undefined: all of the provider's. */
      readonly scopes?: ReadonlyArray<string> | undefined
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
 * Where an account is named: in the token response, or a claim of one of its tokens. `path` leads there, a
 * key at a time.
 *
 * @since 0.1.0
 * @category models
 */
export interface AccountSettings {
  readonly from: "response" | "idToken" | "accessToken"
  readonly path: ReadonlyArray<string>
}

/**
 * The file in which the provider's own program keeps its credentials, and the keychain item where it keeps them
 * instead.
 *
 * @since 0.1.0
 * @category models
 */
export interface CredentialsSettings {
  readonly format: "latchkey" | "claude" | "codex" | "copilot" | "gemini"
  /** `~` is the home directory. */
  readonly file: string
  /** The environment variable that names the file's directory, as its own program reads it. */
  readonly directoryVariable: string | undefined
  /** The Unicode form that its program brings the path of that directory into. */
  readonly directoryForm: "NFC" | "NFD" | undefined
  readonly keychainService: string | undefined
  /** The item's account where the user has no name that its program takes. */
  readonly keychainAccount: string | undefined
  /** What tells the items of its directories apart: `OwnStorage.locate`. */
  readonly keychainName: "user" | "directory"
  /** Whether the keychain is used; undefined: on macOS. */
  readonly keychain: boolean | undefined
  /** Where its own program says which of both is used, in place of `keychain`. */
  readonly storeSetting: { readonly file: string; readonly key: string } | undefined
  /** The locks of its own program, by their names in the file's directory; `stale` in milliseconds. */
  readonly locks: ReadonlyArray<{
    readonly path: string
    readonly kind: "directory" | "kernel"
    readonly during: "refresh" | "write" | "both"
    readonly stale: number
  }>
  /** Files of other programs to import a grant from, the first to be looked into in front. */
  readonly importFrom: ReadonlyArray<string>
}

/**
 * Where the profile comes from. `userinfo`: the OpenID Connect endpoint. `endpoint`: a JSON document of the
 * provider's own; the paths lead into it. `idToken`: the id token's claims. `none`: the account alone.
 *
 * @since 0.1.0
 * @category models
 */
export interface ProfileSettings {
  readonly from: "userinfo" | "endpoint" | "idToken" | "none"
  readonly endpoint: string | undefined
  /** Where the provider's own program keeps the answer; `~` is the home directory. */
  readonly file: string | undefined
  /** Which of the grant's tokens is shown to it. */
  readonly token: "accessToken" | "refreshToken"
  readonly headers: Readonly<Record<string, string>>
  readonly accountId: ReadonlyArray<string>
  readonly email: ReadonlyArray<string>
  /** Several: the first that is there. */
  readonly displayName: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * A provider, all of it.
 *
 * @since 0.1.0
 * @category models
 */
export class Provider extends Data.Class<{
  readonly id: string
  readonly displayName: string
  /** In snapshots and profiles. */
  readonly name: string
  readonly server: Endpoints | Discovery
  readonly client: Client
  readonly scopes: ReadonlyArray<string>
  readonly login: LoginSettings
  readonly token: TokenSettings
  readonly refresh: Refresh
  readonly rotation: RotationPolicy
  readonly account: AccountSettings | undefined
  /** None: the credentials live wherever the program keeps those of others. */
  readonly credentials: CredentialsSettings | undefined
  readonly profile: ProfileSettings
}> {}

/**
 * What is wrong with a provider. `Unknown`: there is none of this name. `Malformed`: its settings, or the file
 * that they are in, are not what is due. `NoClient`: it needs a client id, or a secret, that was not given.
 * `NotOffered`: it cannot do what it was asked.
 *
 * The message says where, and what to do; no secret is in it.
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
 * A provider from its settings; `where` says in errors where these are.
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
          `In ${where}, the id is not one: lower-case letters, digits and hyphens, beginning with a letter.`
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
        authentication: s.client?.authentication ?? (s.client?.secret === undefined ? "none" : "basic"),
        secret: s.client?.secret
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

const serverOf = (server: Part<"server">): Either.Either<Endpoints | Discovery, string> => {
  const { allowPrivateEndpoints, discovery, formerly, issuer, tokenEndpoint, ...endpoints } = server
  if (tokenEndpoint !== undefined) return Either.right({ tokenEndpoint, issuer, formerly, ...endpoints })
  if (issuer === undefined) {
    return Either.left("server names neither issuer nor tokenEndpoint: give one of them")
  }
  const given = Object.keys(endpoints)[0]
  return given === undefined
    ? Either.right({ issuer, discovery, formerly, allowPrivateEndpoints })
    : Either.left(`server.${given} goes with a tokenEndpoint: give that too, or let the issuer tell both`)
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
  scopeSeparator: token.scopeSeparator ?? " ",
  expiry: token.expiry ?? "response",
  deadCodes: token.deadCodes ?? [],
  errors: token.errors ?? []
})

const refreshOf = (refresh: Part<"refresh">): Either.Either<Refresh, string> => {
  const { by = "refreshToken" } = refresh
  if (by === "refreshToken") {
    return Either.right({ by, sendScopes: refresh.sendScopes ?? false, scopes: refresh.scopes })
  }
  if (by !== "exchange") return Either.right({ by })
  const { endpoint } = refresh
  return endpoint === undefined
    ? Either.left("refresh.endpoint is missing: an exchange has to be asked somewhere")
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
