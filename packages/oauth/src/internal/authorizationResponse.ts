/** The parameters with which the authorization server sends the user back (RFC 6749 §4.1.2). */
import * as Credentials from "@latchkey/core/Credentials"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { denied, LoginError } from "../LoginError.js"
import { quote } from "./text.js"

/** Whether these are the parameters of a response at all. */
export const isResponse = (parameters: URLSearchParams): boolean =>
  ["state", "code", "error"].some((name) => parameters.has(name))

/** RFC 6749 §10.12: a response with another state does not belong to this login. */
export const checkState = (parameters: URLSearchParams, state: string): Either.Either<void, LoginError> => {
  const [received, ...more] = parameters.getAll("state")
  if (received === state && more.length === 0) return Either.right(undefined)
  return fail(
    "StateMismatch",
    received === undefined
      ? "The answer has no state, so it is unknown which login it belongs to: start the login again, in one window only."
      : "The answer belongs to another login: close older windows and start the login again."
  )
}

/** Returns the code, if it comes from the right server and is not an error. */
export const code = (
  parameters: URLSearchParams,
  server: { readonly issuer: Option.Option<string>; readonly sendsIssuer: boolean }
): Either.Either<Redacted.Redacted, LoginError> =>
  Either.gen(function* () {
    for (const name of ["code", "iss", "error", "error_description"]) {
      if (parameters.getAll(name).length > 1) return yield* unusable(`repeats the parameter ${name}`)
    }
    if (parameters.has("response")) return yield* unusable("is a JWT, which was not asked for")
    yield* checkIssuer(parameters.get("iss"), server)
    const error = parameters.get("error")
    if (error !== null) return yield* Either.left(refusal(error, parameters.get("error_description")))
    const value = parameters.get("code")
    const problem = Credentials.tokenProblem(value ?? undefined)
    return Option.isNone(problem)
      ? Redacted.make(value ?? "")
      : yield* unusable(`has a code that ${problem.value}`)
  })

/** RFC 9207 §2.4. If no issuer is known there is nothing to compare with. */
const checkIssuer = (
  received: string | null,
  { issuer, sendsIssuer }: { readonly issuer: Option.Option<string>; readonly sendsIssuer: boolean }
): Either.Either<void, LoginError> => {
  if (Option.isNone(issuer)) return Either.right(undefined)
  if (received === null) {
    return sendsIssuer
      ? fail(
          "IssuerMismatch",
          `The answer does not name its issuer, as ${issuer.value} always does: it was not used. Start the login again.`
        )
      : Either.right(undefined)
  }
  return received === issuer.value
    ? Either.right(undefined)
    : fail(
        "IssuerMismatch",
        `The answer comes from ${quote(received, [])}, not from ${issuer.value}: it was not used. Start the login again, and if this repeats, check the issuer in the settings.`
      )
}

const cannotNow = ["server_error", "temporarily_unavailable"]

/** RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6. */
const refusal = (error: string, description: string | null): LoginError => {
  // A code that looks like one is shown unchanged, because `quote` takes long words for tokens.
  const code = /^[a-z_]{1,60}$/.test(error) ? error : quote(error, [])
  const said = description === null || description === "" ? "" : quote(description, [])
  if (code === "access_denied") return denied(code, said)
  const what = `The server answered ${code}${said === "" ? "" : ` (${said})`}`
  if (code.endsWith("_required")) return denied(code, said === "" ? code : `${code}: ${said}`)
  return cannotNow.includes(code)
    ? new LoginError({
        reason: "ServerError",
        message: `${what}: it cannot answer now; try again later.`,
        oauthError: code
      })
    : new LoginError({
        reason: "Misconfigured",
        message: `${what}: check the client, its redirect URI and the scopes.`,
        oauthError: code
      })
}

const unusable = (problem: string): Either.Either<never, LoginError> =>
  fail("Malformed", `The answer ${problem}: it was not used. Start the login again.`)

const fail = (reason: LoginError["reason"], message: string): Either.Either<never, LoginError> =>
  Either.left(new LoginError({ reason, message }))
