/**
 * Why an MCP server cannot be used, in words that say what to do next.
 *
 * @since 0.1.0
 */
import type { TokenError } from "@latchkey/core/TokenError"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type { LoginError } from "@latchkey/oauth/LoginError"
import type { OAuthError } from "@latchkey/oauth/OAuthError"
import * as Schema from "effect/Schema"

/**
 * - `LoginRequired`: the user is needed, and the program gave no way to log in.
 * - `InsufficientScope`: the token lacks a scope, and another login does not help.
 * - `Refused`: the server answers 401 although its authorization server says that the token is good.
 * - `Discovery`: the server's metadata, or its authorization server's, cannot be used.
 * - `Registration`: no client can be had at the authorization server.
 *
 * @since 0.1.0
 * @category errors
 */
export class McpError extends Schema.TaggedError<McpError>("@latchkey/mcp/McpError")("McpError", {
  reason: Schema.Literal("LoginRequired", "InsufficientScope", "Refused", "Discovery", "Registration"),
  /** The MCP server, without its query. */
  serverUrl: Schema.String,
  message: Schema.String,
  /** The scopes that the server wants, where it said so. */
  scopes: Schema.optional(Schema.Array(Schema.String))
}) {}

/**
 * All that a login can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type LoginFailure = McpError | TokenError | LoginError | OAuthConfigError | OAuthError
