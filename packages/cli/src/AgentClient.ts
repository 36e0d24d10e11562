/**
 * Asks the agent of `LATCHKEY_AGENT` for a token.
 *
 * @since 3.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as AgentPolicy from "./AgentPolicy.js"
import { ExitCode } from "./ExitCode.js"
import * as Failure from "./Failure.js"
import type { HelperToken } from "./HelperToken.js"
import * as AgentSocket from "./internal/agentSocket.js"

const Answer = Schema.Struct({
  account: Schema.String,
  token: Schema.NonEmptyString,
  tokenType: Schema.String,
  expiresAt: Schema.NullOr(Schema.Number)
})

const Problem = Schema.Struct({
  error: Schema.Struct({
    reason: Schema.String,
    message: Schema.String,
    next: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null })
  })
})

/** An agent answers within this time, even if it has to refresh first. */
const longestWait = "2 minutes"

/** Longer answers are none of an agent's. */
const longestAnswer = 1_048_576

const unreachable = (address: string, why: string): Failure.Failure =>
  new Failure.Failure({
    code: ExitCode.tryLater,
    reason: "Agent",
    message: `The agent at ${address} does not answer: ${why}.`,
    next: "start it: latchkey agent --account PROVIDER/NAME; or unset LATCHKEY_AGENT"
  })

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
  Effect.gen(function* () {
    const place = AgentPolicy.parseAddress(address)
    if (Option.isNone(place)) {
      return yield* Failure.configuration(
        "LATCHKEY_AGENT is neither the path of a socket nor an address such as http://127.0.0.1:8484.",
        "export LATCHKEY_AGENT=/run/user/1000/latchkey/agent.sock"
      )
    }
    if ("socketPath" in place.value) yield* checkOwner(place.value.socketPath)
    const headers =
      "port" in place.value ? { authorization: `Bearer ${yield* secretOf(secretFile)}` } : undefined
    const { body, status } = yield* ask(address, {
      ...place.value,
      path: AgentSocket.tokenPath(account, minValidity),
      ...(headers !== undefined && { headers })
    })
    if (status === 200) {
      const answer = yield* Effect.mapError(Schema.decode(Schema.parseJson(Answer))(body), () =>
        unreachable(address, "its answer is none of an agent's")
      )
      return {
        account: answer.account,
        accessToken: Redacted.make(answer.token),
        idToken: Option.none(),
        tokenType: answer.tokenType,
        expiresAt: Option.fromNullable(answer.expiresAt)
      }
    }
    const { error } = yield* Effect.mapError(Schema.decode(Schema.parseJson(Problem))(body), () =>
      unreachable(address, `it answered with the status ${status}`)
    )
    return yield* new Failure.Failure({
      code: codes[status] ?? ExitCode.failed,
      reason: error.reason,
      message: error.message,
      next: error.next ?? undefined
    })
  })

const codes: Readonly<Record<number, ExitCode>> = {
  400: ExitCode.usage,
  401: ExitCode.loginRequired,
  403: ExitCode.usage,
  503: ExitCode.tryLater
}

const checkOwner = (path: string): Effect.Effect<void, Failure.Failure> =>
  Effect.suspend(() => {
    const owner = AgentSocket.ownerOf(path)
    if (owner === "own") return Effect.void
    return owner === "missing"
      ? unreachable(path, "there is no such socket")
      : Failure.configuration(`The agent's socket ${path} belongs to another user.`, "unset LATCHKEY_AGENT")
  })

const secretOf = (path: string): Effect.Effect<string, Failure.Failure> =>
  Effect.try({
    try: () => readFileSync(path, "utf8").trim(),
    catch: () =>
      Failure.configuration(
        `The agent's secret cannot be read from ${JSON.stringify(path)}.`,
        "export LATCHKEY_AGENT_SECRET_FILE=FILE, with the file that the agent uses"
      )
  })

const ask = (
  address: string,
  options: Http.RequestOptions
): Effect.Effect<{ readonly status: number; readonly body: string }, Failure.Failure> =>
  Effect.async<{ readonly status: number; readonly body: string }, Failure.Failure>((resume) => {
    const request = Http.get({ ...options, agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (part: string) => {
        body += part
        if (body.length > longestAnswer) request.destroy(new Error())
      })
      response.once("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, body })))
      // After an end this does nothing.
      response.once("close", () => resume(unreachable(address, "the connection broke")))
    })
    request.once("error", (error: NodeJS.ErrnoException) =>
      resume(unreachable(address, error.code ?? "the connection broke"))
    )
    return Effect.sync(() => request.destroy())
  }).pipe(
    Effect.timeoutFail({ duration: longestWait, onTimeout: () => unreachable(address, "it took too long") })
  )
