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
        Option.exists(Duration.decodeUnknown(value), Duration.isFinite) && !value.trim().startsWith("-")
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
    description: "The grant has ended; the server cannot now; or it refuses the client or the request."
  }),
  status: Schema.optional(
    Schema.Array(Schema.Int.pipe(Schema.between(100, 599))).annotations({
      description: "The HTTP statuses; any unless given."
    })
  ),
  path: Schema.optional(path("The keys that lead to a field of the body, through arrays too.")),
  values: texts("What may stand there, as text; anything but null unless given."),
  contains: text("A text that the body contains.")
})

/**
 * One provider.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Settings = Schema.Struct({
  displayName: text("The name for people."),
  name: text("The name in snapshots and profiles; the id unless given."),
  server: section(
    "The authorization server: its issuer, to be discovered, or at least its token endpoint. An issuer without a token endpoint replaces the whole server of the provider that is extended.",
    {
      issuer: url("As the server writes it, to the letter (RFC 8414 §3.3)."),
      discovery: choice("Where to look for its metadata; both unless given.", "oidc", "oauth2"),
      tokenEndpoint: url("With it nothing is discovered."),
      formerly: texts(
        "Issuers and token endpoints that this server had before: a grant that was obtained there is used here. Not inherited where the issuer or the token endpoint is replaced."
      ),
      authorizationEndpoint: url("Where a browser goes to log in."),
      deviceAuthorizationEndpoint: url("Where a login on another device begins (RFC 8628)."),
      revocationEndpoint: url("Where a grant is ended (RFC 7009)."),
      introspectionEndpoint: url("Where a token is looked up (RFC 7662)."),
      userinfoEndpoint: url("Where the account's claims are (OpenID Connect Core §5.3)."),
      pushedAuthorizationRequestEndpoint: url("Where an authorization request is left first (RFC 9126)."),
      jwksUri: url("Where the server's keys are."),
      allowPrivateEndpoints: flag(
        "Whether endpoints on loopback, link-local and private addresses are accepted from the metadata of an issuer that is on no such address itself; false."
      )
    }
  ),
  client: section("The client, as it is registered with the server.", {
    id: text("The client id."),
    authentication: choice(
      "How it shows who it is; basic where there is a secret, else none. basicRaw is basic for servers that do not form-decode it.",
      ...(["none", "basic", "post", "secretJwt", "basicRaw"] as const)
    ),
    secret: Schema.optional(
      Schema.Redacted(Schema.NonEmptyString).annotations({
        description: "Better in the environment than in a file: LATCHKEY_<ID>_CLIENT_SECRET."
      })
    )
  }),
  scopes: texts("What a login asks for."),
  login: section("How a login goes.", {
    ways: Schema.optional(
      Schema.NonEmptyArray(Login).annotations({
        description:
          "The ways that the server offers, the one to try first in front; browser and manual unless given."
      })
    ),
    redirectUri: url(
      "The loopback address as it is registered; http://127.0.0.1/callback with any port unless given."
    ),
    manualRedirectUri: url(
      "The page of the server that shows the code to be pasted; redirectUri unless given."
    ),
    authorizationParameters: record("More parameters of the authorization URL."),
    deviceParameters: record("More parameters of the device authorization request."),
    sendState: flag("Whether the code is redeemed together with the state."),
    pushAuthorizationRequest: flag(
      "Whether the authorization request is left at the server first (RFC 9126); if the server's metadata requires it, unless given."
    ),
    promptForConsent: flag(
      "Whether prompt=consent goes with the scope offline_access (OpenID Connect Core §11); true, except at servers that are known to give refresh tokens without it."
    ),
    expectsRefreshToken: flag(
      "Whether a login without a refresh token is worth a warning; true, except where tokens are known not to expire."
    )
  }),
  token: section("What the token endpoint expects and returns beyond the standard.", {
    encoding: choice("How requests are written; form unless given.", "form", "json"),
    parameters: record("More parameters of every request."),
    headers: record("More headers of every request."),
    defaultType: text(
      "The type of a token where the answer does not say: Bearer. Without it such an answer is refused."
    ),
    type: text(
      "The type of every token, whatever the answer says: Bearer for Slack, which says bot or user."
    ),
    scopeSeparator: text("Between scopes in the answer; a space unless given."),
    expiry: choice(
      "Where a token's expiry comes from: expires_in of the response, or exp of the access token.",
      ...(["response", "accessToken"] as const)
    ),
    deadCodes: texts("Error codes that end a grant, in addition to invalid_grant."),
    errors: Schema.optional(
      Schema.Array(ErrorRule).annotations({
        description:
          "What errors mean that the server does not put in the words of OAuth; the first rule that matches counts."
      })
    )
  }),
  refresh: section("How a grant is renewed.", {
    by: choice(
      "The refresh grant unless given; an exchange shows a long-lived token for a short-lived one.",
      ...(["refreshToken", "exchange", "clientCredentials", "none"] as const)
    ),
    sendScopes: flag("Whether the refresh grant names the scopes."),
    scopes: texts("Those of the scopes that it names, where that is not all of them."),
    keepAlive: span(
      "After how long a grant is refreshed although its token is valid, where the server ends a grant that is not used; a day at least, never unless given."
    ),
    endpoint: url("exchange: the address of the short-lived token, for a GET."),
    headers: record("exchange: more headers of the request."),
    token: text("exchange: the answer's field with the token."),
    expiresAt: text("exchange: the answer's field with the expiry, in epoch seconds."),
    refreshIn: text("exchange: the answer's field with the seconds until the token is to be renewed.")
  }),
  rotation: section("What becomes of a refresh token once used.", {
    policy: choice("rotating unless given, which is the safe assumption.", "reusable", "rotating"),
    window: span("For how long the spent one may be sent again to get the answer again; none unless given.")
  }),
  account: section("Where the account is named; the subject of the id token unless given.", {
    from: choice(
      "In the token response, or a claim of one of its tokens.",
      ...(["response", "idToken", "accessToken"] as const)
    ),
    path: path("The keys that lead to it.")
  }),
  credentials: section(
    "The file of the provider's own program; without it the credentials live in the store.",
    {
      format: choice("How the file holds them.", "latchkey", "claude", "codex", "copilot", "gemini"),
      file: Schema.NonEmptyString.annotations({ description: "Its path; ~ is the home directory." }),
      directoryVariable: text("The environment variable that names its directory."),
      directoryForm: choice(
        "The Unicode form that its program brings the directory's path into; as it is unless given.",
        ...(["NFC", "NFD"] as const)
      ),
      keychainService: text(
        "The keychain item that is read before the file, on macOS unless keychain says otherwise."
      ),
      keychainAccount: text("The account of that item where the user has no name that its program takes."),
      keychainName: choice(
        "What distinguishes the items of its directories: the user with a hash behind the service where its variable is set, or cli| and a hash of its path; user unless given.",
        ...(["user", "directory"] as const)
      ),
      keychain: flag("Whether the keychain is used: on macOS unless given."),
      locks: Schema.optional(
        Schema.Array(
          Schema.Struct({
            path: Schema.NonEmptyString.annotations({
              description: "Its name in the directory of the credentials."
            }),
            kind: Schema.Literal("directory", "kernel").annotations({
              description: "A directory that its holder makes, or a kernel lock on a file."
            }),
            during: Schema.Literal("refresh", "write", "both").annotations({
              description: "What its program holds it for."
            }),
            stale: span("How long a directory that nobody touches counts; 60 seconds unless given.")
          })
        ).annotations({
          description:
            "The locks that its program holds: Latchkey waits for them, and takes them for the same purpose."
        })
      ),
      importFrom: texts(
        "Files of other programs that hold grants of the same kind, to import one from; $XDG_CONFIG_HOME is the directory of settings, %LOCALAPPDATA% on Windows."
      ),
      storeSetting: section(
        "The setting of its own program, in a TOML file of its directory, that says where the credentials are: file, keyring, auto or ephemeral. It takes the place of keychain.",
        {
          file: Schema.NonEmptyString.annotations({ description: "The name of the file." }),
          key: Schema.NonEmptyString.annotations({ description: "The key at its top level." })
        }
      )
    }
  ),
  profile: section("Where the account's profile comes from.", {
    from: choice(
      "userinfo, an endpoint of the provider's own, the id token, or none.",
      ...(["userinfo", "endpoint", "idToken", "none"] as const)
    ),
    endpoint: url("endpoint: its address."),
    file: text("Where the provider's own program keeps the endpoint's answer."),
    token: choice("Which token is shown to it.", "accessToken", "refreshToken"),
    headers: record("More headers of the request."),
    accountId: Schema.optional(path("The keys that lead to the account's id.")),
    email: Schema.optional(path("The keys that lead to its address.")),
    displayName: Schema.optional(
      Schema.NonEmptyArray(Schema.NonEmptyArray(Schema.NonEmptyString)).annotations({
        description: "The keys that lead to its name; several ways, the first that is there."
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
  $schema: Schema.optional(Schema.String.annotations({ description: "For editors; not read." })),
  providers: Schema.Record({
    key: Schema.String.pipe(
      Schema.pattern(idPattern, {
        description: "The provider's id: lower-case letters, digits and hyphens."
      })
    ),
    value: Schema.Struct({
      extends: text("The provider whose settings these change; the built-in one of this id unless given."),
      ...Settings.fields
    })
  })
}).annotations({ title: "Providers of Latchkey" })
