/**
 * The MCP servers that this user has logged in to. Each has its own small file. Its grant is in the store.
 *
 * @since 0.1.0
 */
import { TokenStorage } from "@latchkey/core/TokenStorage"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import type * as Login from "@latchkey/mcp/Login"
import * as McpAuth from "@latchkey/mcp/McpAuth"
import type { LoginFailure } from "@latchkey/mcp/McpError"
import type * as Registration from "@latchkey/mcp/Registration"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import * as Path from "node:path"
import { Encryption } from "./Account.js"
import { ExitCode } from "./ExitCode.js"
import * as Failure from "./Failure.js"
import * as PrivateText from "./internal/PrivateText.js"
import type { Paths } from "./Paths.js"
import * as ProviderWire from "./ProviderWire.js"
import type { OpenError } from "./Store.js"
import { Workspace } from "./Workspace.js"

/**
 * The record of a server, without its grant. It contains no secret.
 *
 * @since 0.1.0
 * @category models
 */
export const McpServer = Schema.Struct({
  latchkey: Schema.Literal(1),
  url: Schema.NonEmptyString,
  encryption: Encryption,
  /** A client that the user registered, without a secret. */
  clientId: Schema.optional(Schema.NonEmptyString),
  clientMetadataUrl: Schema.optional(Schema.NonEmptyString)
})

/**
 * The type of {@link McpServer}.
 *
 * @since 0.1.0
 * @category models
 */
export type McpServer = typeof McpServer.Type

const decode = Schema.decodeUnknownEither(Schema.parseJson(McpServer))
const encode = Schema.encodeSync(Schema.parseJson(McpServer, { space: 2 }))

const folderOf = (paths: Paths): string => Path.join(paths.data, "mcp")

/** A hash, because a URL has characters that are not allowed in a file's name. */
const fileOf = (paths: Paths, url: string): string =>
  Path.join(folderOf(paths), `${createHash("sha256").update(url).digest("hex").slice(0, 32)}.json`)

const failed = (problem: PrivateText.FileProblem): Failure.Failure =>
  Failure.storage("McpServers", PrivateText.describe(problem), "latchkey doctor")

/**
 * Returns the URL of a server in its normal form, or the problem with it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const checkUrl = (text: string): Either.Either<string, Failure.Failure> =>
  Either.mapBoth(Endpoint.check("The URL of an MCP server", text), {
    onLeft: ({ message }) => Failure.usage(`${message}.`, "latchkey mcp login https://HOST/PATH"),
    onRight: ({ href }) => href
  })

/**
 * Returns the server of this URL. None until the user logs in to it.
 *
 * @since 0.1.0
 * @category operations
 */
export const get = (url: string): Effect.Effect<Option.Option<McpServer>, Failure.Failure, Workspace> =>
  Effect.flatMap(Workspace, ({ paths }) => read(fileOf(paths, url)))

const read = (file: string): Effect.Effect<Option.Option<McpServer>, Failure.Failure> =>
  Effect.flatMap(
    Effect.mapError(PrivateText.read(file), failed),
    Option.match({
      onNone: () => Effect.succeedNone,
      onSome: (text) =>
        Either.match(decode(text), {
          onLeft: () =>
            Effect.fail(
              Failure.storage(
                "McpServers",
                `${file} is not a valid record of an MCP server: it was changed, or a later version wrote it.`,
                "upgrade latchkey, or move the file away and log in again"
              )
            ),
          onRight: Effect.succeedSome
        })
    })
  )

/**
 * Returns all servers, sorted by URL.
 *
 * @since 0.1.0
 * @category operations
 */
export const list: Effect.Effect<ReadonlyArray<McpServer>, Failure.Failure, Workspace> = Effect.gen(
  function* () {
    const { paths } = yield* Workspace
    const files = yield* Effect.mapError(PrivateText.list(folderOf(paths)), failed)
    const found = yield* Effect.forEach(
      files.filter((file) => file.endsWith(".json")),
      (file) => read(Path.join(folderOf(paths), file))
    )
    return found.flatMap(Option.toArray).sort((a, b) => (a.url < b.url ? -1 : 1))
  }
)

/**
 * Stores the record of a server.
 *
 * @since 0.1.0
 * @category operations
 */
export const put = (server: McpServer): Effect.Effect<void, Failure.Failure, Workspace> =>
  Effect.flatMap(Workspace, ({ paths }) =>
    Effect.mapError(PrivateText.write(fileOf(paths, server.url), `${encode(server)}\n`), failed)
  )

/**
 * Removes the record of a server, but not its grant.
 *
 * @since 0.1.0
 * @category operations
 */
export const remove = (server: McpServer): Effect.Effect<void, Failure.Failure, Workspace> =>
  Effect.flatMap(Workspace, ({ paths }) =>
    Effect.mapError(PrivateText.remove(fileOf(paths, server.url)), failed)
  )

/**
 * Returns the account and the login command for the messages of failures.
 *
 * @since 0.1.0
 * @category getters
 */
export const aboutOf = (url: string): Failure.About => ({
  account: `mcp:${url}`,
  login: `latchkey mcp login ${url}`
})

/**
 * Explains to the user of a server why the store cannot be opened.
 *
 * @since 0.1.0
 * @category conversions
 */
export const unopened =
  (url: string) =>
  (error: OpenError): Failure.Failure =>
    Failure.fromToken(error, aboutOf(url))

/**
 * Opens the login at a server. Without a way to log in, it never asks the user.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  server: McpServer,
  options: {
    readonly login?: Login.Way | undefined
    readonly scopes?: ReadonlyArray<string> | undefined
    readonly client?: Registration.PreRegistered | undefined
  } = {}
): Effect.Effect<McpAuth.Service, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const { store } = yield* Workspace
    const about = aboutOf(server.url)
    const { lease, storage } = yield* Effect.mapError(
      store.open({ provider: "mcp", account: about.account, encryption: server.encryption }),
      unopened(server.url)
    )
    return yield* McpAuth.make({
      serverUrl: server.url,
      account: about.account,
      login: options.login,
      scopes: options.scopes,
      client: options.client ?? (server.clientId === undefined ? undefined : { clientId: server.clientId }),
      clientMetadataUrl: server.clientMetadataUrl,
      onEvent: () => Effect.void
    }).pipe(
      Effect.provideService(TokenStorage, storage),
      Effect.provideService(RefreshLease, lease),
      Effect.provide(TokenConfig.layerConfig()),
      ProviderWire.withHttp,
      Effect.mapError((error) =>
        error._tag === "OAuthConfigError"
          ? Failure.configuration(`${error.message}.`)
          : Failure.fromToken(error, about)
      )
    )
  })

/**
 * Explains to the user of a server why there is no token.
 *
 * @since 0.1.0
 * @category conversions
 */
export const failure = (error: LoginFailure, url: string): Failure.Failure => {
  const about = aboutOf(url)
  switch (error._tag) {
    case "McpError":
      return new Failure.Failure({
        code: error.reason === "LoginRequired" ? ExitCode.loginRequired : ExitCode.configuration,
        reason: error.reason,
        message: error.message,
        next: error.reason === "LoginRequired" ? about.login : undefined
      })
    case "LoginError":
      return new Failure.Failure({
        code:
          error.reason === "Unreachable" || error.reason === "ServerError"
            ? ExitCode.tryLater
            : ExitCode.loginFailed,
        reason: error.reason,
        message: `The login to ${Endpoint.display(url)} failed: ${error.message}`,
        next: about.login
      })
    case "OAuthConfigError":
      return Failure.configuration(`${error.message}.`)
    case "OAuthError":
      return new Failure.Failure({
        code: error.reason === "Misconfigured" ? ExitCode.configuration : ExitCode.tryLater,
        reason: error.reason,
        message: error.message
      })
    default:
      return Failure.fromToken(error, about)
  }
}
