/** What the login does after a 401: it uses a newer token, refreshes, or asks the user. */
import type { TokenError } from "@latchkey/core/TokenError"
import type * as TokenManager from "@latchkey/core/TokenManager"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Binding from "../Binding.js"
import * as Discovery from "../Discovery.js"
import type { LoginFailure } from "../McpError.js"
import type { Ask } from "./asking.js"
import * as discover from "./discover.js"
import type { Grant } from "./grant.js"
import * as joined from "./joined.js"
import { afterRefusal, type Need } from "./need.js"
import type { Reason } from "./reason.js"

export interface Parts {
  readonly grant: Grant
  readonly discovery: discover.Settings
  readonly ask: Ask
}

export type Unauthorized = (
  refused: Option.Option<Redacted.Redacted>,
  wwwAuthenticate: string | undefined
) => Effect.Effect<Redacted.Redacted, LoginFailure>

/** Callers that were refused the same token share one recovery. */
export const make = (parts: Parts): Effect.Effect<Unauthorized, never, Scope.Scope> =>
  Effect.map(
    joined.make<Redacted.Redacted, LoginFailure>(),
    (recoveries): Unauthorized =>
      (refused, wwwAuthenticate) =>
        recoveries.run(
          Option.match(refused, { onNone: () => "", onSome: Redacted.value }),
          recover(parts, refused, Discovery.challenge(wwwAuthenticate))
        )
  )

const recover = (
  { ask, discovery, grant }: Parts,
  refused: Option.Option<Redacted.Redacted>,
  challenge: Discovery.ServerChallenge
): Effect.Effect<Redacted.Redacted, LoginFailure> =>
  Effect.gen(function* () {
    const askFor = (reason: Reason) =>
      ask({ reason, challenge, wanted: [], lacking: [], refused } satisfies Need)
    const current = yield* grant.token
    const binding = yield* grant.binding
    const next = afterRefusal({
      refused,
      current,
      binding,
      isForgotten: Option.exists(Option.flatMap(binding, Binding.client), ({ clientId }) =>
        grant.isForgotten(clientId)
      )
    })
    switch (next._tag) {
      case "Use":
        return next.token
      case "Ask":
        return yield* askFor(next.reason)
      case "Check":
        if (yield* hasMoved(discovery, challenge, next.binding.issuer)) return yield* askFor("ServerMoved")
        return yield* reject(grant.manager, next.token).pipe(
          Effect.catchAll((error) =>
            error._tag === "ReauthorizationRequired"
              ? askFor("GrantEnded")
              : Effect.flatMap(grant.lostItsClient(error), (isLost) =>
                  isLost ? askFor("ClientForgotten") : Effect.fail(error)
                )
          )
        )
    }
  })

/** Whether the server no longer trusts this issuer. If its metadata cannot be read, it has not moved. */
const hasMoved = (
  discovery: discover.Settings,
  challenge: Discovery.ServerChallenge,
  issuer: string
): Effect.Effect<boolean> =>
  Effect.map(
    Effect.option(discover.resource(discovery, challenge.resourceMetadata)),
    Option.exists(({ hasMetadata, resource }) => hasMetadata && !Discovery.trusts(resource, issuer))
  )

/** The longest cool-down that a request waits for, in milliseconds. */
const coolDownPatience = 5000

/** A second refusal within minutes starts a cool-down. Waits for a short one, so that the request does not fail. */
const reject = (
  manager: TokenManager.Manager,
  refused: Redacted.Redacted
): Effect.Effect<Redacted.Redacted, TokenError> =>
  Effect.catchTag(manager.reject(refused), "RefreshUnavailable", (error) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const wait = Math.max(0, error.retryAt - now)
      return error.reason === "CoolingDown" && wait <= coolDownPatience
        ? Effect.delay(manager.getAccessToken, wait)
        : Effect.fail(error)
    })
  )
