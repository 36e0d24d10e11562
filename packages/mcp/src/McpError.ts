/**
 * The errors of MCP logins. Their messages say what to do next.
 *
 * @since 0.1.0
 */
import type { TokenError } from "@latchkey/core/TokenError"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type { LoginError } from "@latchkey/oauth/LoginError"
import type { OAuthError } from "@latchkey/oauth/OAuthError"
import * as Schema from "effect/Schema"

/**
 * - `LoginRequired`: the user must log in, and the program has no way to ask.
 * - `InsufficientScope`: the token lacks a scope, and another login does not help.
 * - `Discovery`: the metadata of the server, or of its authorization server, cannot be used.
 * - `Registration`: the program has no client at the authorization server.
 *
 * @since 0.1.0
 * @category errors
 */
export class McpError extends Schema.TaggedError<McpError>("@latchkey/mcp/McpError")("McpError", {
  reason: Schema.Literal("LoginRequired", "InsufficientScope", "Discovery", "Registration"),
  /** The MCP server, without its query. */
  serverUrl: Schema.String,
  message: Schema.String,
  /** The scopes that the server wants, if it named them. */
  scopes: Schema.optional(Schema.Array(Schema.String))
}) {}

/**
 * All errors of a login.
 *
 * @since 0.1.0
 * @category errors
 */
export type LoginFailure = McpError | TokenError | LoginError | OAuthConfigError | OAuthError
