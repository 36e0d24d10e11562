/**
 * `latchkey mcp proxy URL`: an MCP server on standard input and output that forwards to the server at the URL, with the
 * token. All bridges to a server share one login.
 *
 * @since 0.1.0
 */
import * as McpPromise from "@latchkey/mcp/McpPromise"
import {
  isInitializeRequest,
  isJSONRPCRequest,
  isJSONRPCResultResponse,
  type JSONRPCMessage,
  StreamableHTTPClientTransport
} from "@modelcontextprotocol/client"
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as McpServers from "../McpServers.js"
import * as McpWays from "../McpWays.js"
import type { Services } from "../Run.js"

/**
 * Runs until the standard input ends. If a request cannot be forwarded, its response is an error that says why.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: { readonly url: string }): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const url = yield* McpServers.checkUrl(options.url)
    const server = yield* McpServers.get(url)
    if (Option.isNone(server)) {
      const { account, login } = McpServers.aboutOf(url)
      return yield* new Failure.Failure({
        code: ExitCode.loginRequired,
        reason: "NoCredentials",
        message: `${account}: There is no login to this server yet.`,
        next: login
      })
    }
    const login = yield* McpWays.make("browser")
    const auth = yield* McpServers.open(server.value, { login })
    const { fetch } = yield* McpPromise.make(auth)
    const ended = yield* Deferred.make<void>()
    yield* Effect.acquireRelease(
      Effect.promise(() => bridge(new URL(url), fetch, () => Deferred.unsafeDone(ended, Effect.void))),
      (close) => Effect.promise(close)
    )
    yield* Deferred.await(ended)
    return ExitCode.ok
  }).pipe(Effect.scoped)

/** The code of an internal error (JSON-RPC 2.0 §5.1). */
const internalError = -32603

/** Forwards each message, in both directions. */
const bridge = async (url: URL, fetch: McpPromise.Fetch, onEnd: () => void): Promise<() => Promise<void>> => {
  const program = new StdioServerTransport()
  const server = new StreamableHTTPClientTransport(url, { fetch })
  // The id of the request whose response contains the protocol version.
  let initialize: unknown
  server.onmessage = (message) => {
    if (isJSONRPCResultResponse(message) && message.id === initialize) {
      const { protocolVersion } = message.result
      if (typeof protocolVersion === "string") server.setProtocolVersion(protocolVersion)
    }
    void program.send(message)
  }
  program.onmessage = (message) => {
    if (isInitializeRequest(message) && isJSONRPCRequest(message)) initialize = message.id
    server.send(message).catch((error: unknown) => {
      const answer = failed(message, error)
      if (answer !== undefined) void program.send(answer)
    })
  }
  program.onclose = onEnd
  process.stdin.once("end", onEnd)
  await server.start()
  await program.start()
  return async () => {
    await server.close()
    await program.close()
  }
}

/** Returns the error response. Undefined for a notification, which has no response. */
const failed = (message: JSONRPCMessage, error: unknown): JSONRPCMessage | undefined =>
  isJSONRPCRequest(message)
    ? {
        jsonrpc: "2.0",
        id: message.id,
        error: { code: internalError, message: error instanceof Error ? error.message : "The request failed" }
      }
    : undefined
