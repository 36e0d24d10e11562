/**
 * The JSON form of a provider, for the user's file and for the built-in providers.
 *
 * Everything is optional. If a provider leaves out a setting, the provider that it extends supplies it, or a
 * default. {@link File} is the source of this package's JSON Schema `providers.schema.json`, which editors
 * read.
 *
 * @since 0.1.0
 */
import * as Endpoint from "@latchkey/oauth/Endpoint"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Durations from "./internal/durations.js"

const idPattern = /^[a-z][a-z0-9-]{0,63}$/

/**
 * Whether a text is a valid provider ID: letters, digits and hyphens. An environment variable contains the
 * same text in upper case.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isId = (id: string): boolean => idPattern.test(id)

/**
 * The ways to log in.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Login = Schema.Literal("browser", "device", "manual", "clientCredentials")

const text = (description: string) => Schema.optional(Schema.NonEmptyString.annotations({ description }))

const url = (description: string) =>
  Schema.optional(
    Schema.String.pipe(
      Schema.filter((value) =>
        Either.match(Endpoint.check("it", value), {
          onLeft: (error) => error.message.replace(/^it /, ""),
          onRight: () => true
        })
      )
    ).annotations({ description, jsonSchema: { type: "string", format: "uri", description } })
  )

const texts = (description: string) =>
  Schema.optional(Schema.Array(Schema.NonEmptyString).annotations({ description }))

const record = (description: string) =>
  Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }).annotations({ description }))

const flag = (description: string) => Schema.optional(Schema.Boolean.annotations({ description }))

const choice = <const A extends readonly [string, ...Array<string>]>(description: string, ...names: A) =>
  Schema.optional(Schema.Literal(...names).annotations({ description }))

const path = (description: string) => Schema.NonEmptyArray(Schema.NonEmptyString).annotations({ description })

/** A duration in text form: `30 seconds`. */
const span = (description: string) =>
  Schema.optional(
    Schema.NonEmptyString.pipe(
      Schema.filter((value) =>
        Option.exists(Durations.fromText(value), Duration.isFinite) && !value.trim().startsWith("-")
          ? true
          : "is not a duration: write it like 30 seconds or 5 minutes"
      )
    ).annotations({
      description,
      jsonSchema: { type: "string", description, examples: ["0 seconds", "30 seconds", "5 minutes"] }
    })
  )

const section = <const Fields extends Schema.Struct.Fields>(description: string, fields: Fields) =>
  Schema.optional(Schema.Struct(fields).annotations({ description }))

/**
 * A rule for errors. See `ErrorRule` of `@latchkey/oauth`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ErrorRule = Schema.Struct({
  means: Schema.Literal("dead", "transient", "misconfigured").annotations({
    description:
      "dead: the grant has ended. transient: the server cannot answer now. misconfigured: it refuses the client or the request."
  }),
  status: Schema.optional(
    Schema.Array(Schema.Int.pipe(Schema.between(100, 599))).annotations({
      description: "The HTTP statuses. Default: any."
    })
  ),
  path: Schema.optional(path("The path of keys to a field of the body. It may lead through arrays.")),
  values: texts("The values of that field, as text. Default: any value but null."),
  contains: text("A text that the body contains.")
})

/**
 * One provider.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Settings = Schema.Struct({
  displayName: text("The name that is shown to people."),
  name: text("The name in snapshots and profiles. Default: the id."),
  server: section(
    "The authorization server. Give its issuer, and Latchkey discovers the endpoints. Or give at least its token endpoint. If you extend a provider, an issuer without a token endpoint replaces the whole server of that provider.",
    {
      issuer: url("The issuer, exactly as the server writes it (RFC 8414 §3.3)."),
      discovery: choice("Which metadata document to look for. Default: both.", "oidc", "oauth2"),
      tokenEndpoint: url("The token endpoint. If it is set, Latchkey discovers nothing."),
      formerly: texts(
        "Earlier issuers and token endpoints of this server. A grant from there is accepted here. Not inherited if you replace the issuer or the token endpoint."
      ),
      authorizationEndpoint: url("The authorization endpoint, where a browser logs in."),
      deviceAuthorizationEndpoint: url("The endpoint that starts a login on another device (RFC 8628)."),
      revocationEndpoint: url("The endpoint that revokes a grant (RFC 7009)."),
      introspectionEndpoint: url("The endpoint that describes a token (RFC 7662)."),
      userinfoEndpoint: url(
        "The endpoint that returns the claims of the account (OpenID Connect Core §5.3)."
      ),
      pushedAuthorizationRequestEndpoint: url("The endpoint for pushed authorization requests (RFC 9126)."),
      jwksUri: url("The URL of the server's keys."),
      allowPrivateEndpoints: flag(
        "Whether the metadata of a public issuer may name endpoints on loopback, link-local and private addresses. Default: false. It has no effect with a tokenEndpoint."
      )
    }
  ),
  client: section("The client, as it is registered with the server.", {
    id: text("The client id."),
    authentication: choice(
      "How the client authenticates. Default: assertion if that is set, basic with a secret, otherwise none. basicRaw is basic for servers that do not form-decode the header.",
      ...(["none", "basic", "post", "secretJwt", "basicRaw", "assertion"] as const)
    ),
    assertion: section(
      "assertion: where the client's assertion is from, a token that the platform gives to the program (RFC 7523 §2.2). For refresh.by clientCredentials.",
      {
        from: Schema.Literal("file", "githubActions", "google", "azure").annotations({
          description:
            "file: a file that the platform renews. githubActions: the OIDC endpoint of a job. google, azure: the metadata server of the cloud."
        }),
        path: text("file: the path of the file."),
        variable: text(
          "file: the environment variable that names the file, such as AZURE_FEDERATED_TOKEN_FILE."
        ),
        audience: text("githubActions, google, azure: the audience of the token."),
        clientId: text("azure: the client id of a user-assigned identity.")
      }
    ),
    secret: Schema.optional(
      Schema.Redacted(Schema.NonEmptyString).annotations({
        description:
          "The client secret. Set it in the environment, as LATCHKEY_<ID>_CLIENT_SECRET, rather than in a file."
      })
    )
  }),
  scopes: texts("The scopes that a login requests."),
  login: section("How a user logs in.", {
    ways: Schema.optional(
      Schema.NonEmptyArray(Login).annotations({
        description:
          "The logins that the server offers. The first one is tried first. Default: browser and manual."
      })
    ),
    redirectUri: url(
      "The loopback redirect URI, as it is registered. Default: http://127.0.0.1/callback, with any port."
    ),
    manualRedirectUri: url(
      "The page of the server that shows the code that the user pastes. Default: redirectUri."
    ),
    authorizationParameters: record("Additional parameters of the authorization URL."),
    deviceParameters: record("Additional parameters of the device authorization request."),
    sendState: flag("Whether to send the state when the code is redeemed. Default: false."),
    pushAuthorizationRequest: flag(
      "Whether to push the authorization request to the server first (RFC 9126). Default: only if the server's metadata requires it."
    ),
    promptForConsent: flag(
      "Whether to send prompt=consent with the scope offline_access (OpenID Connect Core §11). Default: true, except at servers that are known not to need it: Google, Entra, Auth0, Okta and GitHub."
    ),
    expectsRefreshToken: flag(
      "Whether a login without a refresh token causes a warning. Default: true, except at github.com, where a setting of the app decides whether there is one. Always false if refresh.by is not refreshToken."
    )
  }),
  token: section("How the token endpoint differs from the standard.", {
    encoding: choice("The format of requests. Default: form.", "form", "json"),
    parameters: record("Additional parameters of every request."),
    headers: record("Additional headers of every request."),
    defaultType: text(
      "The token type if a response names none: Bearer. Default: such a response is refused."
    ),
    type: text(
      "The type of every token, whatever a response says: Bearer for Slack, which says bot or user."
    ),
    scopeSeparator: text("The separator between the scopes in a response. Default: a space."),
    expiry: choice(
      "The source of a token's expiry: expires_in of the response, or exp of the access token. Default: response.",
      ...(["response", "accessToken"] as const)
    ),
    deadCodes: texts("Error codes that end a grant, in addition to invalid_grant."),
    errors: Schema.optional(
      Schema.Array(ErrorRule).annotations({
        description:
          "The meaning of errors that are not standard OAuth errors. The first rule that matches counts."
      })
    )
  }),
  refresh: section("How a grant is renewed.", {
    by: choice(
      "How Latchkey gets the next token. exchange: a long-lived token is exchanged for a short-lived one. Default: refreshToken.",
      ...(["refreshToken", "exchange", "clientCredentials", "none"] as const)
    ),
    sendScopes: flag("Whether a refresh request sends the scopes. Default: false."),
    scopes: texts("The scopes that a refresh request sends. Default: those of the login."),
    keepAlive: span(
      "How long a grant may be unused before Latchkey refreshes it, although its token is valid: for servers that end an unused grant. A day at least. Default: never."
    ),
    endpoint: url("exchange: the URL that returns the short-lived token, by GET."),
    headers: record("exchange: additional headers of the request."),
    token: text("exchange: the field of the response that holds the token. Default: token."),
    expiresAt: text(
      "exchange: the field of the response that holds the expiry, in epoch seconds. Default: expires_at."
    ),
    refreshIn: text(
      "exchange: the field of the response that holds the number of seconds until the token should be renewed. Default: refresh_in."
    )
  }),
  rotation: section("What the server does with a used refresh token.", {
    policy: choice("Default: rotating, which is safe with every server.", "reusable", "rotating"),
    window: span("How long the server accepts a used refresh token again. Default: not at all.")
  }),
  account: section("Where to read the account. Default: the subject of the id token.", {
    from: choice(
      "The token response, or the claims of one of its tokens. Default: response.",
      ...(["response", "idToken", "accessToken"] as const)
    ),
    path: path("The path of keys to the account.")
  }),
  credentials: section("The file of the provider's own program. Default: the credentials are in the store.", {
    format: choice(
      "The format of the file. Default: latchkey.",
      "latchkey",
      "claude",
      "codex",
      "copilot",
      "gemini"
    ),
    file: Schema.NonEmptyString.annotations({
      description: "The path of the file. ~ is the home directory."
    }),
    directoryVariable: text("The environment variable that names the directory of the file."),
    directoryForm: choice(
      "The Unicode form into which the program normalizes the path of the directory. Default: no normalization.",
      ...(["NFC", "NFD"] as const)
    ),
    keychainService: text("The keychain item that is read before the file. See keychain."),
    keychainAccount: text("The account of the keychain item if the program cannot use the name of the user."),
    keychainName: choice(
      "How the program names the keychain items of several directories. user: the account is the user, and a hash follows the service if directoryVariable is set. directory: the account is cli| and a hash of the path. Default: user.",
      ...(["user", "directory"] as const)
    ),
    keychain: flag("Whether to use the keychain. Default: only on macOS."),
    locks: Schema.optional(
      Schema.Array(
        Schema.Struct({
          path: Schema.NonEmptyString.annotations({
            description: "The name of the lock in the directory of the credentials."
          }),
          kind: Schema.Literal("directory", "kernel").annotations({
            description: "directory: a directory that the holder creates. kernel: a kernel lock on a file."
          }),
          during: Schema.Literal("refresh", "write", "both").annotations({
            description: "When the program holds the lock."
          }),
          stale: span("How long a directory counts as a lock after it was last touched. Default: 60 seconds.")
        })
      ).annotations({
        description:
          "The locks that the program holds. Latchkey waits for them, and takes them at the same times."
      })
    ),
    importFrom: texts(
      "Files of other programs from which a grant can be imported. $XDG_CONFIG_HOME is the directory of settings. On Windows, it is %LOCALAPPDATA%."
    ),
    storeSetting: section(
      "The setting of the program that selects where the credentials are: file, keyring, auto or ephemeral. It is in a TOML file in the directory of the program, and replaces keychain.",
      {
        file: Schema.NonEmptyString.annotations({ description: "The name of the TOML file." }),
        key: Schema.NonEmptyString.annotations({ description: "The key at the top level of the file." })
      }
    )
  }),
  profile: section("Where the account's profile comes from.", {
    from: choice(
      "The source of the profile: userinfo, an endpoint of the provider, the id token, or none. Default: endpoint if that is set, otherwise none.",
      ...(["userinfo", "endpoint", "idToken", "none"] as const)
    ),
    endpoint: url("endpoint: the URL of the endpoint."),
    file: text("The file in which the provider's own program keeps the answer of the endpoint."),
    token: choice("Which token the request sends. Default: accessToken.", "accessToken", "refreshToken"),
    headers: record("Additional headers of the request."),
    accountId: Schema.optional(path("The path of keys to the id of the account. Default: sub.")),
    email: Schema.optional(path("The path of keys to the e-mail address. Default: email.")),
    displayName: Schema.optional(
      Schema.NonEmptyArray(Schema.NonEmptyArray(Schema.NonEmptyString)).annotations({
        description: "Paths of keys to the name. The first one that exists counts. Default: name."
      })
    )
  })
})

/**
 * @since 0.1.0
 * @category models
 */
export type Settings = (typeof Settings)["Type"]

/**
 * One provider in its JSON form.
 *
 * @since 0.1.0
 * @category models
 */
export type Encoded = (typeof Settings)["Encoded"]

/**
 * A file of providers: the user's own, and changes to the built-in ones.
 *
 * @since 0.1.0
 * @category schemas
 */
export const File = Schema.Struct({
  $schema: Schema.optional(
    Schema.String.annotations({ description: "The JSON Schema, for editors. Latchkey ignores it." })
  ),
  providers: Schema.Record({
    key: Schema.String.pipe(
      Schema.pattern(idPattern, {
        description: "The provider's id: lower-case letters, digits and hyphens."
      })
    ),
    value: Schema.Struct({
      extends: text(
        "The provider whose settings these change. Default: the built-in provider of the same id."
      ),
      ...Settings.fields
    })
  })
}).annotations({ title: "Providers of Latchkey" })
