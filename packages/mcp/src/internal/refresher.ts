/** Redeems a grant at the authorization server that issued it, by the client that it was issued to, whatever is set now. */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import { RefreshError } from "@latchkey/core/TokenRefresher"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import type * as Server from "@latchkey/oauth/Server"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Binding from "../Binding.js"
import * as Registration from "../Registration.js"

type Refresher = Context.Tag.Service<TokenRefresher.TokenRefresher>

export interface Settings {
  readonly registration: Registration.Options
  readonly timeout?: Duration.DurationInput | undefined
  readonly server: (
    issuer: string,
    hasMetadata: boolean
  ) => Effect.Effect<Context.Tag.Service<Server.Server>, OAuthConfigError>
}

export const make = (settings: Settings): Effect.Effect<Refresher, never, HttpClient> =>
  Effect.map(Effect.context<HttpClient>(), (context) => {
    // The last one: an MCP server has one grant.
    let last: { readonly of: Binding.Binding; readonly refresher: Refresher } | undefined
    const refresherOf = (binding: Binding.Binding) =>
      Effect.gen(function* () {
        if (last?.of === binding) return last.refresher
        const client = Binding.client(binding)
        if (Option.isNone(client)) return yield* misconfigured("names no client that it was issued to")
        const refresher = yield* RefreshToken.make({
          server: yield* settings.server(binding.issuer, binding.hasMetadata),
          client: Registration.toClient(client.value, settings.registration),
          resource: binding.resource,
          timeout: settings.timeout
        })
        last = { of: binding, refresher }
        return refresher
      }).pipe(
        Effect.catchTag("OAuthConfigError", ({ message }) =>
          Effect.fail(new RefreshError({ reason: "Misconfigured", message: `${message}. Nothing was sent.` }))
        ),
        Effect.provide(context)
      )
    return TokenRefresher.make({
      identityIn: Binding.identity,
      serverAhead: () => last?.refresher.serverAhead?.() ?? 0,
      refresh: (credentials) =>
        Effect.gen(function* () {
          const binding = Binding.of(credentials)
          if (Option.isNone(binding)) return yield* misconfigured("was made by no MCP login")
          const refresher = yield* refresherOf(binding.value)
          return bound(yield* refresher.refresh(Option.some(credentials)), binding.value)
        })
    })
  })

/** Attached again: a field of the server's must not take its place. */
const bound = (credentials: Credentials, binding: Binding.Binding): Credentials =>
  Binding.attach(credentials, binding)

const misconfigured = (why: string): Effect.Effect<never, RefreshError> =>
  Effect.fail(
    new RefreshError({
      reason: "Misconfigured",
      message: `The stored grant ${why}: log in again. Nothing was sent.`
    })
  )
