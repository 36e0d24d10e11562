/**
 * The forms of `latchkey token --format`, one small function for each. Pure.
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as BazelCredential from "./BazelCredential.js"
import * as DockerCredential from "./DockerCredential.js"
import { configuration, type Failure, usage } from "./Failure.js"
import * as GcloudCredential from "./GcloudCredential.js"
import * as GitCredential from "./GitCredential.js"
import * as HelperToken from "./HelperToken.js"
import * as Text from "./internal/text.js"
import * as KubectlCredential from "./KubectlCredential.js"
import * as ServedHost from "./ServedHost.js"

/**
 * - `host`: the server that the token is for, where the form names it.
 * - `username`: replaces the default one, where the form has one.
 * - `variable`: the variable of `env`.
 * - `execInfo`, `googleTokenType`: the values of `KUBERNETES_EXEC_INFO` and
 *   `GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE`; empty if they are not set.
 *
 * @since 3.1.0
 * @category models
 */
export interface Request {
  readonly host: Option.Option<string>
  readonly username: Option.Option<string>
  readonly variable: string
  readonly execInfo: string
  readonly googleTokenType: string
  readonly now: number
}

type Render = (token: HelperToken.HelperToken, request: Request) => Either.Either<string, Failure>

const json = (value: Either.Either<object, Failure>): Either.Either<string, Failure> =>
  Either.map(value, Text.json)

/** Headers as JSON, as several tools expect from a script that supplies headers. */
const headerJson: Render = (token) =>
  json(
    Either.map(HelperToken.authorizationOf(token, "this form"), (authorization) => ({
      Authorization: authorization
    }))
  )

const git: Render = (token, { username }) =>
  Either.map(GitCredential.answer(token, GitCredential.noRequest, { username, bearer: false }), (lines) =>
    lines.join("\n")
  )

const kubectl: Render = (token, { execInfo }) => json(KubectlCredential.answer(token, execInfo))

const bazel: Render = (token) => json(BazelCredential.answer(token))

const docker: Render = (token, { host, username }) =>
  Either.flatMap(needed(host, "docker"), (server) => json(DockerCredential.answer(token, server, username)))

const gcloud: Render = (token, { googleTokenType, now }) =>
  json(GcloudCredential.answer(token, googleTokenType, now))

/**
 * A line for a shell or a file of variables. Quotes appear only if a character needs them, because
 * `docker run --env-file` would keep them.
 */
const env: Render = (token, { variable }) =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(variable)
    ? Either.map(HelperToken.secretOf(token, "a shell"), (secret) => `${variable}=${shellWord(secret)}`)
    : Either.left(
        usage(
          `${JSON.stringify(variable.slice(0, 40))} is not a valid name for an environment variable.`,
          "--env NAME, of letters, digits and _"
        )
      )

/**
 * Quotes a text for a POSIX shell, if it needs that.
 *
 * @since 3.1.0
 * @category formatting
 */
export const shellWord = (text: string): string =>
  /^[A-Za-z0-9._~+/=:@%,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

/**
 * A line of a `.netrc` file
 * ([its format](https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html)). Programs
 * disagree about quotes in it, so a token that would need them is refused. The name of a machine has no port.
 */
const netrc: Render = (token, { host, username }) =>
  Either.flatMap(needed(host, "netrc"), (machine) =>
    Either.flatMap(HelperToken.secretOf(token, "netrc"), (secret) => {
      const login = Option.getOrElse(username, () => HelperToken.usernameFor(token.account))
      return [login, secret].every((word) => /^[^\s"'\\#]+$/.test(word))
        ? Either.right(`machine ${machine.replace(/:\d+$/, "")} login ${login} password ${secret}`)
        : Either.left(
            configuration(
              `${token.account}: Its token or the user name has characters that a netrc file cannot carry.`,
              "another --format",
              "TokenCharacters"
            )
          )
    })
  )

const needed = (host: Option.Option<string>, format: string): Either.Either<string, Failure> =>
  Option.match(host, {
    onNone: () =>
      Either.left(
        usage(`The format ${format} names the server of the token.`, "--host HOST, such as ghcr.io")
      ),
    onSome: ServedHost.parseHost
  })

const renders = { "header-json": headerJson, git, kubectl, bazel, docker, gcloud, env, netrc } as const

/**
 * @since 3.1.0
 * @category models
 */
export type Format = keyof typeof renders

const names = Object.keys(renders)

/**
 * Checks the name of a format. `aws` gets a reason of its own: `credential_process` returns access keys,
 * which only an exchange at AWS STS can make from a token, and Latchkey has no such exchange.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parse = (name: string): Either.Either<Format, Failure> => {
  if (Object.hasOwn(renders, name)) return Either.right(name as Format)
  return Either.left(
    name === "aws"
      ? usage(
          "There is no format aws: credential_process needs access keys, which only an exchange at AWS STS makes from a token, and Latchkey has none.",
          "let the AWS SDK exchange the token: web_identity_token_file in its configuration"
        )
      : usage(
          `There is no format ${JSON.stringify(name.slice(0, 40))}.`,
          `--format with one of ${names.join(", ")}`
        )
  )
}

/**
 * Returns the token in a format, as text without a line feed at its end.
 *
 * @since 3.1.0
 * @category formatting
 */
export const render = (
  format: Format,
  token: HelperToken.HelperToken,
  request: Request
): Either.Either<string, Failure> => renders[format](token, request)
