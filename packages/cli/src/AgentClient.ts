/**
 * Gets a token from the agent of `LATCHKEY_AGENT`.
 *
 * @since 3.1.0
 */
import * as Agent from "@latchkey/providers/Agent"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ExitCode } from "./ExitCode.js"
import * as Failure from "./Failure.js"
import type { HelperToken } from "./HelperToken.js"

/**
 * Returns a valid token of an account from the agent at `address`. `secretFile` is for an agent on a port.
 *
 * @since 3.1.0
 * @category operations
 */
export const get = (
  address: string,
  secretFile: string,
  account: string,
  minValidity: number
): Effect.Effect<HelperToken, Failure.Failure> =>
  Effect.mapBoth(Agent.token({ address, secretFile }, account, minValidity), {
    onFailure: failureOf,
    onSuccess: (token) => ({ ...token, idToken: Option.none() })
  })

const failureOf = ({ message, next, problem, reason, status }: Agent.AgentError): Failure.Failure => {
  switch (reason) {
    case "Address":
    case "ForeignSocket":
    case "Secret":
      return Failure.configuration(message, next)
    case "Unreachable":
      return new Failure.Failure({ code: ExitCode.tryLater, reason: "Agent", message, next })
    case "Refused":
      return new Failure.Failure({
        code: codes[status ?? 0] ?? ExitCode.failed,
        reason: problem ?? "Agent",
        message,
        next
      })
  }
}

const codes: Readonly<Record<number, ExitCode>> = {
  400: ExitCode.usage,
  401: ExitCode.loginRequired,
  403: ExitCode.usage,
  503: ExitCode.tryLater
}
