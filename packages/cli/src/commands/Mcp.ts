/**
 * `latchkey mcp login URL`, `latchkey mcp logout URL` and `latchkey mcp list`: the logins at MCP servers.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import * as Binding from "@latchkey/mcp/Binding"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ExitCode } from "../ExitCode.js"
import type * as Failure from "../Failure.js"
import * as Format from "../Format.js"
import * as McpServers from "../McpServers.js"
import * as McpWays from "../McpWays.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import { Workspace } from "../Workspace.js"

/**
 * The options of `latchkey mcp login`.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoginOptions {
  readonly url: string
  readonly way: McpWays.Name
  readonly scopes: ReadonlyArray<string>
  readonly clientId: Option.Option<string>
  readonly clientMetadataUrl: Option.Option<string>
  readonly json: boolean
}

/**
 * Logs in, or logs in again. An earlier grant is replaced only after the login has succeeded.
 *
 * @since 0.1.0
 * @category commands
 */
export const login = (options: LoginOptions): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const url = yield* McpServers.checkUrl(options.url)
    const server = yield* serverFor(url, options)
    const way = yield* McpWays.make(options.way)
    const auth = yield* McpServers.open(server, { login: way, scopes: options.scopes })
    yield* Effect.mapError(auth.login(), (error) => McpServers.failure(error, url))
    yield* McpServers.put(server)
    const row = yield* rowOf(server)
    if (options.json) yield* Output.printJson(row)
    else yield* Output.say(`Logged in to ${url} through ${row.issuer ?? "its authorization server"}.`)
    return ExitCode.ok
  }).pipe(Effect.scoped)

/** Returns the stored record with the new options, or a new one. New grants are encrypted like those of other accounts. */
const serverFor = (
  url: string,
  { clientId, clientMetadataUrl }: LoginOptions
): Effect.Effect<McpServers.McpServer, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { store } = yield* Workspace
    const before = yield* McpServers.get(url)
    const asked = {
      ...(Option.isSome(clientId) && { clientId: clientId.value }),
      ...(Option.isSome(clientMetadataUrl) && { clientMetadataUrl: clientMetadataUrl.value })
    }
    if (Option.isSome(before)) return { ...before.value, ...asked }
    const { encryption, why } = yield* Effect.mapError(store.choose, McpServers.unopened(url))
    if (why !== undefined)
      yield* Output.say(`The grant will be stored unencrypted, in a file that only you can read: ${why}`)
    return { latchkey: 1, url, encryption, ...asked }
  })

/**
 * Ends the grant at the server that issued it, and removes it from the store. With `local`, only removes it.
 *
 * @since 0.1.0
 * @category commands
 */
export const logout = (options: {
  readonly url: string
  readonly local: boolean
  readonly json: boolean
}): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const url = yield* McpServers.checkUrl(options.url)
    const server = yield* McpServers.get(url)
    const removed = Option.isNone(server) ? false : yield* forget(server.value, options.local)
    if (options.json) yield* Output.printJson({ url, removed })
    else yield* Output.say(removed ? `Logged out of ${url}.` : `There is no login to ${url}.`)
    return ExitCode.ok
  }).pipe(Effect.scoped)

const forget = (server: McpServers.McpServer, local: boolean) =>
  Effect.gen(function* () {
    const { logout, manager } = yield* McpServers.open(server)
    const removed = yield* Effect.mapError(local ? manager.clear : logout, (error) =>
      McpServers.failure(error, server.url)
    )
    yield* McpServers.remove(server)
    return removed
  })

/**
 * Lists the servers. Exits with 0 only if each has a token or can get one.
 *
 * @since 0.1.0
 * @category commands
 */
export const list = (options: {
  readonly json: boolean
}): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const servers = yield* McpServers.list
    const rows = yield* Effect.forEach(servers, (server) => Effect.scoped(rowOf(server)))
    if (options.json) yield* Output.printJson({ servers: rows })
    else {
      const now = yield* Clock.currentTimeMillis
      for (const { expiresAt, issuer, state, url } of rows) {
        const until = expiresAt === null ? "" : `, for ${Format.span(Math.max(0, expiresAt - now))}`
        yield* Output.print(
          `${url}  ${state}${state === "valid" ? until : ""}${issuer === null ? "" : `  through ${Endpoint.display(issuer)}`}`
        )
      }
      if (rows.length === 0) {
        yield* Output.say("There are no MCP servers yet. Log in to one: latchkey mcp login URL")
      }
    }
    const isUsable = rows.every(({ state }) => state === "valid" || state === "refreshable")
    return isUsable ? ExitCode.ok : ExitCode.loginRequired
  })

/**
 * A server in the output. `expiresAt` is in epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Row {
  readonly url: string
  readonly state: "valid" | "refreshable" | "expired" | "dead" | "absent"
  readonly expiresAt: number | null
  readonly issuer: string | null
  readonly scopes: ReadonlyArray<string>
}

/** The state of a grant without a valid token, in the words of `latchkey status`. */
const stateOf = (credentials: Option.Option<Credentials>, isDead: boolean): Row["state"] => {
  if (Option.isNone(credentials)) return "absent"
  if (isDead) return "dead"
  return Option.isSome(credentials.value.refreshToken) ? "refreshable" : "expired"
}

const rowOf = (server: McpServers.McpServer) =>
  Effect.gen(function* () {
    const { manager } = yield* McpServers.open(server)
    const failed = Effect.mapError((error: Effect.Effect.Error<typeof manager.credentials>) =>
      McpServers.failure(error, server.url)
    )
    const credentials = yield* failed(manager.credentials)
    const { authenticated, expiresAt, warnings } = yield* failed(manager.status)
    return {
      url: server.url,
      state: authenticated ? "valid" : stateOf(credentials, warnings.includes("GrantDead")),
      expiresAt: Option.getOrNull(expiresAt),
      issuer: Option.getOrNull(Option.map(Option.flatMap(credentials, Binding.of), ({ issuer }) => issuer)),
      scopes: Option.match(credentials, { onNone: () => [], onSome: ({ scopes }) => scopes })
    } satisfies Row
  })
