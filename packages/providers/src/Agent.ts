/**
 * Tokens from `latchkey agent`: one process holds the grants of a machine, and refreshes them for all programs. This
 * process gets access tokens only, and keeps them in memory.
 *
 * @since 3.1.0
 */
import { TimeLimit } from "@latchkey/core/internal-api"
import * as Credentials from "@latchkey/core/Credentials"
import * as Decision from "@latchkey/core/Decision"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import * as AgentSocket from "./AgentSocket.js"

/**
 * @since 3.1.0
 * @category models
 */
export interface Options {
  /** The path of the agent's socket, or a loopback URL such as `http://127.0.0.1:8484`. */
  readonly address: string
  /** The file with the agent's local secret. An agent on a socket has none. */
  readonly secretFile?: string | undefined
}

/**
 * A token of an agent. `expiresAt` is in epoch milliseconds.
 *
 * @since 3.1.0
 * @category models
 */
export interface Token {
  readonly account: string
  readonly accessToken: Redacted.Redacted
  readonly tokenType: string
  readonly expiresAt: Option.Option<number>
}

/**
 * The agent gave no token.
 *
 * - `Address`, `ForeignSocket`, `Secret`: the options are wrong, and nothing was sent.
 * - `Unreachable`: there is no answer, or none of an agent's.
 * - `Refused`: the agent's own words, with its HTTP status. `problem` is its short name.
 *
 * `next` says what to do.
 *
 * @since 3.1.0
 * @category errors
 */
export class AgentError extends Schema.TaggedError<AgentError>("@latchkey/providers/AgentError")(
  "AgentError",
  {
    reason: Schema.Literal("Address", "ForeignSocket", "Secret", "Unreachable", "Refused"),
    message: Schema.String,
    next: Schema.optional(Schema.String),
    problem: Schema.optional(Schema.String),
    status: Schema.optional(Schema.Number)
  }
) {}

/**
 * Reads `LATCHKEY_AGENT` and `LATCHKEY_AGENT_SECRET_FILE`. None if there is no agent to use.
 *
 * @since 3.1.0
 * @category configuration
 */
export const config: Config.Config<Option.Option<Options>> = Config.map(
  Config.all([
    Config.withDefault(Config.string("LATCHKEY_AGENT"), ""),
    Config.withDefault(Config.string("LATCHKEY_AGENT_SECRET_FILE"), "")
  ]),
  ([address, secretFile]) => (address === "" ? Option.none() : Option.some({ address, secretFile }))
)

/**
 * Returns a valid token of an account. `minValidity` is in milliseconds.
 *
 * @since 3.1.0
 * @category operations
 */
export const token = (
  options: Options,
  account: string,
  minValidity: number = 0
): Effect.Effect<Token, AgentError> =>
  send(options, { method: "GET", path: AgentSocket.tokenPath(account, minValidity) }, "")

/**
 * Returns another token after a server answered 401 to this one. The agent refreshes only if it is still current.
 *
 * @since 3.1.0
 * @category operations
 */
export const reject = (
  options: Options,
  account: string,
  rejected: Redacted.Redacted
): Effect.Effect<Token, AgentError> =>
  send(options, { method: "POST", path: AgentSocket.rejectPath(account) }, Redacted.value(rejected))

/**
 * Creates a refresher that gets the tokens of an account from an agent. It needs no credentials to begin with.
 * `grace` is that of the manager, in milliseconds.
 *
 * @since 3.1.0
 * @category constructors
 */
export const refresher = (
  options: Options,
  account: string,
  grace: number
): Context.Tag.Service<TokenRefresher.TokenRefresher> =>
  TokenRefresher.makeIndependent((previous) =>
    Effect.gen(function* () {
      const received = yield* token(options, account)
      const now = yield* Clock.currentTimeMillis
      const refused = Option.filter(previous, (old) => isRefused(old, received, now, grace))
      const good = yield* Option.match(refused, {
        onNone: () => Effect.succeed(received),
        onSome: ({ accessToken }) => reject(options, account, accessToken)
      })
      return Credentials.make({
        accessToken: good.accessToken,
        tokenType: good.tokenType,
        obtainedAt: yield* Clock.currentTimeMillis,
        ...Option.match(good.expiresAt, { onNone: () => ({}), onSome: (expiresAt) => ({ expiresAt }) })
      })
    }).pipe(Effect.mapError(refreshError))
  )

/** The agent still has a token that is replaced here before it is due: a server has refused it. */
const isRefused = (old: Credentials.Credentials, received: Token, now: number, grace: number): boolean =>
  Equal.equals(old.accessToken, received.accessToken) && !Decision.shouldRefresh(old, now, grace)

/**
 * Provides the manager of an account of an agent. It stores nothing, and logins and logouts are the agent's. If the agent
 * gives no token, the error is `RefreshUnavailable` with the agent's own words, also if somebody has to log in there. It
 * tries again within 10 seconds.
 *
 * @since 3.1.0
 * @category layers
 */
export const layer = (
  options: Options,
  account: string,
  manager: TokenManager.Options = {}
): Layer.Layer<TokenManager.TokenManager, never, TokenConfig.TokenConfig> =>
  TokenManager.layer(manager).pipe(
    Layer.provide([
      TokenStorage.layerMemory,
      RefreshLease.layerProcess,
      Layer.effect(
        TokenRefresher.TokenRefresher,
        Effect.map(TokenConfig.TokenConfig, ({ grace }) => refresher(options, account, grace))
      )
    ]),
    Layer.provide(
      Layer.effect(
        TokenConfig.TokenConfig,
        Effect.map(TokenConfig.TokenConfig, (policy) => ({
          ...policy,
          coolDownMax: Math.min(policy.coolDownMax, longestCoolDown)
        }))
      )
    )
  )

/** In milliseconds. A program of this machine is back sooner than a server. */
const longestCoolDown = 10_000

const refreshError = ({ message, next, reason, status = 0 }: AgentError): TokenRefresher.RefreshError =>
  new TokenRefresher.RefreshError({
    reason: reason === "Unreachable" || status >= 500 ? "Transient" : "Misconfigured",
    message: next === undefined ? message : `${message} Next: ${next}`
  })

/** An agent answers within this time, even if it has to refresh first. */
const longestWait = "2 minutes"

/** Longer answers are none of an agent's. */
const longestAnswer = 1_048_576

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
    next: Schema.optional(Schema.NullOr(Schema.String))
  })
})

const decodeAnswer = Schema.decodeUnknownOption(Answer)
const decodeProblem = Schema.decodeUnknownOption(Problem)

const unreachable = (address: string, why: string): AgentError =>
  new AgentError({
    reason: "Unreachable",
    message: `The agent at ${address} does not answer: ${why}.`,
    next: "start it: latchkey agent --account PROVIDER/NAME; or unset LATCHKEY_AGENT"
  })

interface Question {
  readonly method: "GET" | "POST"
  readonly path: string
}

const send = (options: Options, question: Question, body: string): Effect.Effect<Token, AgentError> =>
  Effect.gen(function* () {
    const { address } = options
    const place = yield* placeOf(address)
    const secret = "port" in place ? yield* secretOf(options.secretFile ?? "") : undefined
    const answer = yield* exchange(
      address,
      {
        ...place,
        ...question,
        ...(secret !== undefined && { headers: { authorization: `Bearer ${secret}` } })
      },
      body
    )
    return yield* read(address, answer)
  })

const placeOf = (address: string): Effect.Effect<AgentSocket.Place, AgentError> =>
  Effect.suspend(() => {
    const place = AgentSocket.parsePlace(address)
    if (place === undefined) {
      return new AgentError({
        reason: "Address",
        message:
          "LATCHKEY_AGENT is neither the path of a socket nor an address such as http://127.0.0.1:8484.",
        next: "export LATCHKEY_AGENT=/run/user/1000/latchkey/agent.sock"
      })
    }
    const owner = "socketPath" in place ? AgentSocket.ownerOf(place.socketPath) : "own"
    if (owner === "own") return Effect.succeed(place)
    return owner === "missing"
      ? unreachable(address, "there is no such socket")
      : new AgentError({
          reason: "ForeignSocket",
          message: `The agent's socket ${address} belongs to another user.`,
          next: "unset LATCHKEY_AGENT"
        })
  })

const secretOf = (path: string): Effect.Effect<string, AgentError> =>
  Effect.try({
    try: () => readFileSync(path, "utf8").trim(),
    catch: () =>
      new AgentError({
        reason: "Secret",
        message: `The agent's secret cannot be read from ${JSON.stringify(path)}.`,
        next: "export LATCHKEY_AGENT_SECRET_FILE=FILE, with the file that the agent uses"
      })
  })

interface Response {
  readonly status: number
  readonly body: string
}

const read = (address: string, { body, status }: Response): Effect.Effect<Token, AgentError> => {
  const value = parsed(body)
  return status === 200
    ? Option.match(decodeAnswer(value), {
        onNone: () => Effect.fail(unreachable(address, "its answer is none of an agent's")),
        onSome: ({ account, expiresAt, token, tokenType }) =>
          Effect.succeed({
            account,
            accessToken: Redacted.make(token),
            tokenType,
            expiresAt: Option.fromNullable(expiresAt)
          })
      })
    : Option.match(decodeProblem(value), {
        onNone: () => Effect.fail(unreachable(address, `it answered with the status ${status}`)),
        onSome: ({ error }) =>
          Effect.fail(
            new AgentError({
              reason: "Refused",
              message: error.message,
              next: error.next ?? undefined,
              problem: error.reason,
              status
            })
          )
      })
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const exchange = (
  address: string,
  options: Http.RequestOptions,
  body: string
): Effect.Effect<Response, AgentError> =>
  Effect.async<Response, AgentError>((resume) => {
    const request = Http.request({ ...options, agent: false }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part
        if (text.length > longestAnswer) request.destroy(new Error())
      })
      response.once("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, body: text })))
      // After an end this does nothing.
      response.once("close", () => resume(Effect.fail(unreachable(address, "the connection broke"))))
    })
    request.once("error", (error: NodeJS.ErrnoException) =>
      resume(Effect.fail(unreachable(address, error.code ?? "the connection broke")))
    )
    if (body !== "") request.setHeader("content-length", Buffer.byteLength(body))
    request.end(body)
    return Effect.sync(() => request.destroy())
  }).pipe(TimeLimit.orFail(longestWait, () => unreachable(address, "it took too long")))
