/** What the login does after a 403 `insufficient_scope`: it asks the user for the missing scopes, each scope once. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Discovery from "../Discovery.js"
import type { LoginFailure } from "../McpError.js"
import * as Scopes from "../Scopes.js"
import type { Ask } from "./asking.js"
import * as discover from "./discover.js"
import type { Grant } from "./grant.js"
import { insufficientScope, isEndedByUser, replacement } from "./need.js"

export interface Parts {
  readonly serverUrl: URL
  readonly grant: Grant
  readonly discovery: discover.Settings
  readonly ask: Ask
}

export interface StepUp {
  readonly run: (
    refused: Redacted.Redacted,
    wwwAuthenticate: string | undefined
  ) => Effect.Effect<Redacted.Redacted, LoginFailure>
  /** Lets the user be asked for these scopes again. */
  readonly allow: (scopes: Scopes.Scopes) => void
}

export const make = ({ ask, discovery, grant, serverUrl }: Parts): StepUp => {
  /** The scopes that a login of this process requested and did not get. */
  const tried = new Set<string>()
  return {
    allow: (scopes) => {
      for (const scope of scopes) tried.delete(scope)
    },
    run: (token, wwwAuthenticate) =>
      Effect.gen(function* () {
        const refused = Option.some(token)
        const challenge = Discovery.challenge(wwwAuthenticate)
        const current = yield* grant.token
        const granted = yield* grant.scopes
        const challenged = Option.getOrElse(challenge.scopes, (): Scopes.Scopes => [])
        const replaced = replacement(refused, current)
        const hasAll = challenged.length > 0 && Scopes.missing(challenged, granted).length === 0
        // Another caller asked the user meanwhile.
        if (Option.isSome(replaced) && hasAll) return replaced.value
        const binding = yield* grant.binding
        const supported = Option.isSome(challenge.scopes)
          ? Option.none<Scopes.Scopes>()
          : (yield* discover.resource(discovery, challenge.resourceMetadata)).resource.scopes
        const decision = Scopes.stepUp({
          challenged: challenge.scopes,
          supported,
          granted,
          requested: Option.match(binding, { onNone: () => [], onSome: ({ requested }) => requested }),
          tried
        })
        if (decision._tag === "Refuse") return yield* insufficientScope(serverUrl, decision.why, challenged)
        const { lacking, scopes: wanted } = decision
        const remember = (held: Scopes.Scopes) =>
          Effect.sync(() => {
            for (const scope of Scopes.missing(lacking, held)) tried.add(scope)
          })
        return yield* ask({ reason: "StepUp", challenge, wanted, lacking, refused }).pipe(
          Effect.tap(() => Effect.flatMap(grant.scopes, remember)),
          Effect.tapErrorTag("LoginError", (error) => (isEndedByUser(error) ? remember([]) : Effect.void))
        )
      })
  }
}
