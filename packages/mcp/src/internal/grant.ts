/** The grant of one MCP server, as its login uses it: the manager, the binding, and the clients that its server forgot. */
import type { GrantMismatch, TokenError } from "@latchkey/core/TokenError"
import type * as TokenManager from "@latchkey/core/TokenManager"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Binding from "../Binding.js"
import * as Registration from "../Registration.js"
import type { Scopes } from "../Scopes.js"

export interface Grant {
  readonly manager: TokenManager.Manager
  /** Returns a token that is valid now. None until someone logs in, and after the grant or its client has ended. */
  readonly token: Effect.Effect<Option.Option<Redacted.Redacted>, TokenError>
  readonly binding: Effect.Effect<Option.Option<Binding.Binding>, StorageError | GrantMismatch>
  /** The scopes of the token. */
  readonly scopes: Effect.Effect<Scopes, StorageError | GrantMismatch>
  /** Returns whether an authorization server answered that it does not know this client. */
  readonly isForgotten: (clientId: string) => boolean
  readonly forget: (clientId: string) => void
  /** Returns whether a refresh failed because the server no longer knows the client, and remembers it. */
  readonly lostItsClient: (error: TokenError) => Effect.Effect<boolean>
}

export const make = (manager: TokenManager.Manager): Grant => {
  const forgotten = new Set<string>()
  const binding = Effect.map(manager.credentials, (credentials) => Option.flatMap(credentials, Binding.of))
  const lostItsClient = (error: TokenError): Effect.Effect<boolean> =>
    error._tag !== "RefreshUnavailable"
      ? Effect.succeed(false)
      : Effect.map(Effect.option(binding), (found) =>
          Option.exists(Option.flatMap(Option.flatten(found), Binding.client), (client) => {
            const { cause } = error
            const code = cause?._tag === "RefreshError" ? cause.oauthError : undefined
            if (Registration.isForgotten(client, code)) forgotten.add(client.clientId)
            return forgotten.has(client.clientId)
          })
        )
  return {
    manager,
    binding,
    scopes: Effect.map(
      manager.credentials,
      Option.match({ onNone: (): Scopes => [], onSome: ({ scopes }) => scopes })
    ),
    token: manager.getAccessToken.pipe(
      Effect.asSome,
      Effect.catchAll((error) =>
        error._tag === "ReauthorizationRequired"
          ? Effect.succeedNone
          : Effect.flatMap(lostItsClient(error), (isLost) =>
              isLost ? Effect.succeedNone : Effect.fail(error)
            )
      )
    ),
    isForgotten: (clientId) => forgotten.has(clientId),
    forget: (clientId) => void forgotten.add(clientId),
    lostItsClient
  }
}
