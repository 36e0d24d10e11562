/**
 * `latchkey token ACCOUNT`: prints a valid token, and nothing else, on stdout.
 *
 * @since 0.1.0
 */
import * as Decision from "@latchkey/core/Decision"
import type * as TokenManager from "@latchkey/core/TokenManager"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import type { HelperToken } from "../HelperToken.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import type { Workspace } from "../Workspace.js"

/**
 * A form of the token for another program: the name of the format, and what it may need besides the token.
 *
 * @since 3.1.0
 * @category models
 */
export interface Form {
  readonly format: string
  readonly host: Option.Option<string>
  readonly username: Option.Option<string>
  readonly variable: Option.Option<string>
}

/**
 * `minValidity` is in milliseconds. `header` requests a whole `Authorization` header, and `form` the form of
 * another program. At most one of `header`, `form` and `json` applies.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly minValidity: number
  readonly header: boolean
  readonly form: Option.Option<Form>
  readonly json: boolean
}

/**
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    if (Option.isSome(options.form)) return yield* formatted(options, options.form.value)
    const token = yield* get(options.account, options.minValidity)
    if (options.json) yield* Output.printJson(yield* describe(token, options.header))
    else yield* Output.print(options.header ? headerOf(token) : Redacted.value(token.accessToken))
    return ExitCode.ok
  }).pipe(Effect.scoped)

const variable = (name: string) =>
  Effect.mapError(Config.withDefault(Config.string(name), ""), (error) =>
    Failure.configuration(Failure.configProblem(error))
  )

const formatted = (
  options: Options,
  form: Form
): Effect.Effect<ExitCode, Failure.Failure, Services | Scope.Scope> =>
  Effect.gen(function* () {
    if (options.header || options.json) {
      return yield* Failure.usage(
        "--format was given with --header or --json.",
        "give only one of --format, --header, --json"
      )
    }
    const TokenFormats = yield* Effect.promise(() => import("../TokenFormats.js"))
    const format = yield* TokenFormats.parse(form.format)
    const text = Effect.gen(function* () {
      const request = {
        host: form.host,
        username: form.username,
        variable: Option.getOrElse(form.variable, () => "ACCESS_TOKEN"),
        execInfo: yield* variable("KUBERNETES_EXEC_INFO"),
        googleTokenType: yield* variable("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE"),
        now: yield* Clock.currentTimeMillis
      }
      const token = yield* get(options.account, options.minValidity)
      return yield* TokenFormats.render(format, token, request)
    })
    if (format !== "gcloud") {
      yield* Output.print(...(yield* text).split("\n"))
      return ExitCode.ok
    }
    // Google's libraries set this variable, and show the reason of a failure only if the exit code is 0.
    const isGoogle = (yield* variable("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE")) !== ""
    const GcloudCredential = yield* Effect.promise(() => import("../GcloudCredential.js"))
    return yield* Effect.matchEffect(text, {
      onFailure: (failure) =>
        isGoogle
          ? Effect.as(Output.printJson(GcloudCredential.failed(failure)), ExitCode.ok)
          : Effect.fail(failure),
      onSuccess: (found) => Effect.as(Output.print(found), ExitCode.ok)
    })
  })

/**
 * Returns a valid token of an account, refreshed if it is due: from the agent of `LATCHKEY_AGENT`, if it is
 * set, and otherwise from this machine's own accounts.
 *
 * @since 0.1.0
 * @category operations
 */
export const get = (
  name: string,
  minValidity: number
): Effect.Effect<HelperToken, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const agent = yield* variable("LATCHKEY_AGENT")
    if (agent !== "") {
      const AgentClient = yield* Effect.promise(() => import("../AgentClient.js"))
      return yield* AgentClient.get(agent, yield* variable("LATCHKEY_AGENT_SECRET_FILE"), name, minValidity)
    }
    const { about, manager } = yield* name.startsWith(mcpPrefix)
      ? ofMcpServer(name.slice(mcpPrefix.length))
      : ofAccount(name, minValidity)
    return yield* from(manager, about, minValidity)
  })

/**
 * Returns a valid token of a manager, with its scopes. `rejected`: a token that a server has refused, so that
 * another one is needed.
 *
 * @since 3.1.0
 * @category operations
 */
export const from = (
  manager: Pick<TokenManager.Manager, "getAccessToken" | "getAccessTokenFor" | "reject" | "credentials">,
  about: Failure.About,
  minValidity: number,
  rejected?: Redacted.Redacted
): Effect.Effect<HelperToken & { readonly scopes: ReadonlyArray<string> }, Failure.Failure> =>
  Effect.gen(function* () {
    const valid = minValidity > 0 ? manager.getAccessTokenFor({ minValidity }) : manager.getAccessToken
    const asked = rejected === undefined ? valid : manager.reject(rejected)
    const accessToken = yield* Effect.mapError(asked, (error) => Failure.fromToken(error, about))
    const credentials = yield* Effect.orElseSucceed(manager.credentials, Option.none)
    const now = yield* Clock.currentTimeMillis
    // Another process may have replaced the grant since, with another expiry, and perhaps with fewer scopes.
    const own = Option.filter(credentials, (c) => Equal.equals(c.accessToken, accessToken))
    return {
      account: about.account,
      accessToken,
      idToken: Option.flatMap(credentials, (c) => c.idToken),
      tokenType: Option.match(own, { onNone: () => "Bearer", onSome: (c) => c.tokenType }),
      scopes: Option.match(own, { onNone: () => [], onSome: (c) => c.scopes }),
      // By this clock, although another one may have dated it.
      expiresAt: Option.map(
        Option.flatMap(own, (c) => Decision.timeToExpiry(c, now)),
        (left) => now + left
      )
    }
  })

const ofAccount = (name: string, minValidity: number) =>
  Effect.gen(function* () {
    const session = yield* Session.open(yield* Session.find(name))
    return { about: session.about, manager: yield* Session.manager(session, { force: false, minValidity }) }
  })

/** The prefix of an MCP server's URL in place of an account's name. */
const mcpPrefix = "mcp:"

/** Imported on use, because other accounts do not need it. */
const ofMcpServer = (text: string) =>
  Effect.gen(function* () {
    const McpServers = yield* Effect.promise(() => import("../McpServers.js"))
    const url = yield* McpServers.checkUrl(text)
    const about = McpServers.aboutOf(url)
    const server = yield* McpServers.get(url)
    if (Option.isNone(server)) {
      return yield* new Failure.Failure({
        code: ExitCode.loginRequired,
        reason: "NoCredentials",
        message: `${about.account}: There are no credentials yet.`,
        next: about.login
      })
    }
    const { manager } = yield* McpServers.open(server.value)
    return { about, manager }
  })

/** A DPoP-bound token is useless without a proof for each request, so no header is printed for a shell. */
const headerOf = ({ accessToken, tokenType }: HelperToken): string =>
  `Authorization: ${/^bearer$/i.test(tokenType) ? "Bearer" : tokenType} ${Redacted.value(accessToken)}`

/**
 * The fields of a token, as `--json` prints them. Instants are epoch milliseconds.
 *
 * @since 3.1.0
 * @category getters
 */
export const describe = (token: HelperToken, header: boolean) =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const expiresAt = Option.getOrNull(token.expiresAt)
    return {
      account: token.account,
      token: Redacted.value(token.accessToken),
      tokenType: token.tokenType,
      expiresAt,
      expiresInSeconds: expiresAt === null ? null : Math.max(0, Math.floor((expiresAt - now) / 1000)),
      ...(header && { header: headerOf(token) })
    }
  })
