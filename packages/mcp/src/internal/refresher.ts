/** Refreshes a grant at the server that issued it, as the client that received it, even if the settings have changed. */
import type { HttpClient } from "@effect/platform/HttpClient"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import { RefreshError } from "@latchkey/core/TokenRefresher"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Binding from "../Binding.js"
import * as Registration from "../Registration.js"
import type { Servers } from "./discover.js"

type Refresher = Context.Tag.Service<TokenRefresher.TokenRefresher>

export interface Settings {
  readonly registration: Registration.Options
  readonly timeout?: Duration.DurationInput | undefined
  readonly serverOf: Servers
}

export const make = (settings: Settings): Effect.Effect<Refresher, never, HttpClient> =>
  Effect.map(Effect.context<HttpClient>(), (context) => {
    // One is enough: an MCP server has one grant. It remembers the nonces and the clock of the server.
    let last: { readonly of: Binding.Binding; readonly refresher: Refresher } | undefined
    const refresherOf = (binding: Binding.Binding) =>
      Effect.gen(function* () {
        if (last !== undefined && Binding.hasSameClient(last.of, binding)) return last.refresher
        const client = Binding.client(binding)
        if (Option.isNone(client)) return yield* misconfigured("names no client")
        const refresher = yield* RefreshToken.make({
          server: yield* settings.serverOf(binding.issuer, binding.hasMetadata),
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
          if (Option.isNone(binding)) return yield* misconfigured("does not come from an MCP login")
          const refresher = yield* refresherOf(binding.value)
          // Attached again, so that a field of the response cannot replace it.
          return Binding.attach(yield* refresher.refresh(Option.some(credentials)), binding.value)
        })
    })
  })

const misconfigured = (why: string): Effect.Effect<never, RefreshError> =>
  Effect.fail(
    new RefreshError({
      reason: "Misconfigured",
      message: `The stored grant ${why}: log in again. Nothing was sent.`
    })
  )
