/**
 * Why the user must log in.
 *
 * - `Asked`: the program called `login`.
 * - `FirstLogin`: nobody has logged in yet.
 * - `GrantEnded`: the authorization server ended the grant, or it expired.
 * - `ServerMoved`: the MCP server now trusts another authorization server.
 * - `ClientForgotten`: the authorization server no longer knows the client.
 * - `StepUp`: the server wants more scopes than the token has.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = "Asked" | "FirstLogin" | "GrantEnded" | "ServerMoved" | "ClientForgotten" | "StepUp"
