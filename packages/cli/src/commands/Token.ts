/**
 * `latchkey token ACCOUNT`: prints a valid token, and nothing else, on stdout.
 *
 * @since 0.1.0
 */
import * as Decision from "@latchkey/core/Decision"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"

/**
 * `minValidity` is in milliseconds. `header` requests a whole `Authorization` header.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly minValidity: number
  readonly header: boolean
  readonly json: boolean
}

/**
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const token = yield* get(options.account, options.minValidity)
    if (options.json) yield* Output.printJson(yield* describe(token, options.header))
    else yield* Output.print(options.header ? headerOf(token) : Redacted.value(token.accessToken))
    return ExitCode.ok
  }).pipe(Effect.scoped)

/**
 * A token and its metadata.
 *
 * @since 0.1.0
 * @category models
 */
export interface Token {
  readonly account: string
  readonly accessToken: Redacted.Redacted
  readonly tokenType: string
  readonly expiresAt: Option.Option<number>
}

/**
 * Returns a valid token of an account, refreshed if it is due.
 *
 * @since 0.1.0
 * @category operations
 */
export const get = (name: string, minValidity: number) =>
  Effect.gen(function* () {
    const { about, manager } = yield* name.startsWith(mcpPrefix)
      ? ofMcpServer(name.slice(mcpPrefix.length))
      : ofAccount(name, minValidity)
    const asked = minValidity > 0 ? manager.getAccessTokenFor({ minValidity }) : manager.getAccessToken
    const accessToken = yield* Effect.mapError(asked, (error) => Failure.fromToken(error, about))
    const credentials = yield* Effect.orElseSucceed(manager.credentials, Option.none)
    const now = yield* Clock.currentTimeMillis
    return {
      account: about.account,
      accessToken,
      tokenType: Option.match(credentials, { onNone: () => "Bearer", onSome: (c) => c.tokenType }),
      // By this clock, although another one may have dated it.
      expiresAt: Option.map(
        Option.flatMap(credentials, (c) => Decision.timeToExpiry(c, now)),
        (left) => now + left
      )
    } satisfies Token
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
const headerOf = ({ accessToken, tokenType }: Token): string =>
  `Authorization: ${/^bearer$/i.test(tokenType) ? "Bearer" : tokenType} ${Redacted.value(accessToken)}`

const describe = (token: Token, header: boolean) =>
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
