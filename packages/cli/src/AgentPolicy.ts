/**
 * Which tokens a client of the agent may have, and what it asks for. Pure.
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { ExitCode } from "./ExitCode.js"
import { Failure, usage } from "./Failure.js"
import * as Format from "./Format.js"

/**
 * One kind of client, with a listener of its own. `accounts` are the only accounts that it may use, each as
 * `provider/name`. With `scopes`, it gets a token only if the token has no other scope.
 *
 * @since 3.1.0
 * @category models
 */
export const Client = Schema.Struct({
  socket: Schema.optional(Schema.NonEmptyString),
  port: Schema.optional(Schema.Int.pipe(Schema.between(0, 65_535))),
  secretFile: Schema.optional(Schema.NonEmptyString),
  accounts: Schema.NonEmptyArray(Schema.NonEmptyString),
  scopes: Schema.optional(Schema.Array(Schema.NonEmptyString))
})

/**
 * @since 3.1.0
 * @category models
 */
export type Client = typeof Client.Type

/** The file of an agent that serves several kinds of clients. */
const Config = Schema.Struct({ clients: Schema.NonEmptyArray(Client) })

/**
 * Parses the text of an agent's file.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parse = (path: string, text: string): Either.Either<typeof Config.Type, Failure> =>
  Schema.decodeUnknownEither(Schema.parseJson(Config), { onExcessProperty: "error" })(text).pipe(
    Either.mapLeft(({ message }) => wrong(path, message.replace(/\s+/g, " "))),
    Either.flatMap((config) => {
      const unplaced = config.clients.find(
        ({ port, secretFile, socket }) =>
          (socket === undefined) === (port === undefined) || (secretFile !== undefined && port === undefined)
      )
      return unplaced === undefined
        ? Either.right(config)
        : Either.left(wrong(path, "each client needs either socket, or port and perhaps secretFile"))
    })
  )

const wrong = (path: string, problem: string): Failure =>
  new Failure({
    code: ExitCode.configuration,
    reason: "AgentConfig",
    message: `${path} is no file of an agent: ${problem}.`,
    next: '{"clients":[{"socket":"/run/user/1000/build.sock","accounts":["github/work"]}]}'
  })

/**
 * What a client asks for. `minValidity` is in milliseconds. `rejected`: a token that a server has refused.
 *
 * @since 3.1.0
 * @category models
 */
export interface Question {
  readonly account: string
  readonly minValidity: number
}

/** The path of each method. */
const paths: ReadonlyMap<string, string> = new Map([
  ["GET", "/token"],
  ["POST", "/reject"]
])

/**
 * Parses the method, the path and the query of a request: `/token?account=ACCOUNT&min_validity=SPAN`.
 *
 * @since 3.1.0
 * @category parsing
 */
export const question = (method: string, path: string): Either.Either<Question, Failure> => {
  const at = path.indexOf("?")
  const query = new URLSearchParams(at === -1 ? "" : path.slice(at + 1))
  const account = query.get("account") ?? ""
  const isPath = (at === -1 ? path : path.slice(0, at)) === paths.get(method)
  if (!isPath || account === "") {
    return Either.left(
      usage("The agent answers GET /token?account=ACCOUNT and POST /reject?account=ACCOUNT.")
    )
  }
  return Either.mapBoth(Format.parseSpan(query.get("min_validity") ?? "0"), {
    onLeft: (problem) => usage(`min_validity ${problem}`),
    onRight: (minValidity) => ({ account, minValidity })
  })
}

/**
 * Whether a client may use an account, before anything is looked up: an account that it may not use answers
 * like one that does not exist.
 *
 * @since 3.1.0
 * @category predicates
 */
export const admit = (
  client: Pick<Client, "accounts">,
  { account }: Question
): Either.Either<string, Failure> =>
  client.accounts.includes(account)
    ? Either.right(account)
    : Either.left(
        new Failure({
          code: ExitCode.usage,
          reason: "NotAllowed",
          message: `This client may not use ${JSON.stringify(account.slice(0, 80))}.`,
          next: `add it to the agent's accounts for this client, if it should: --account PROVIDER/NAME`
        })
      )

/**
 * Checks the scopes of a token. A token whose scopes are unknown may have any.
 *
 * @since 3.1.0
 * @category predicates
 */
export const checkScopes = (
  client: Pick<Client, "scopes">,
  account: string,
  scopes: ReadonlyArray<string>
): Either.Either<void, Failure> => {
  const { scopes: allowed } = client
  if (allowed === undefined) return Either.void
  const excess = scopes.filter((scope) => !allowed.includes(scope))
  if (scopes.length > 0 && excess.length === 0) return Either.void
  return Either.left(
    new Failure({
      code: ExitCode.usage,
      reason: "Scopes",
      message:
        scopes.length === 0
          ? `${account}: The scopes of its token are unknown, and this client may have only some.`
          : `${account}: Its token has scopes that this client may not have: ${excess.join(" ")}.`,
      next: `log in to an account of its own for this client, with only its scopes: latchkey login PROVIDER --account NAME --scope SCOPE`
    })
  )
}

/**
 * The HTTP status for a failure.
 *
 * @since 3.1.0
 * @category getters
 */
export const statusOf = ({ code, reason }: Failure): number => {
  if (reason === "NotAllowed" || reason === "Scopes") return 403
  return statuses[code] ?? 500
}

const statuses: Readonly<Record<number, number>> = {
  [ExitCode.usage]: 400,
  [ExitCode.loginRequired]: 401,
  [ExitCode.tryLater]: 503
}
