/**
 * The failures that the command reports: in words, with the next step and an exit code.
 *
 * @since 0.1.0
 */
import { describeMismatch, Mismatch } from "@latchkey/core/GrantIdentity"
import type { TokenError } from "@latchkey/core/TokenError"
import * as Cause from "effect/Cause"
import type * as ConfigError from "effect/ConfigError"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import { ExitCode } from "./ExitCode.js"

/**
 * A failure for display. `reason` is for scripts, and `next` is what the user can do. Neither holds a secret.
 *
 * @since 0.1.0
 * @category errors
 */
export class Failure extends Data.TaggedError("Failure")<{
  readonly code: ExitCode
  readonly reason: string
  readonly message: string
  readonly next?: string | undefined
}> {}

/**
 * The arguments cannot be carried out.
 *
 * @since 0.1.0
 * @category constructors
 */
export const usage = (message: string, next?: string): Failure =>
  new Failure({ code: ExitCode.usage, reason: "Usage", message, next })

/**
 * A setting, or a file of settings, is wrong.
 *
 * @since 0.1.0
 * @category constructors
 */
export const configuration = (message: string, next?: string, reason = "Configuration"): Failure =>
  new Failure({ code: ExitCode.configuration, reason, message, next })

/**
 * The credentials or the account file cannot be read or written.
 *
 * @since 0.1.0
 * @category constructors
 */
export const storage = (reason: string, message: string, next?: string): Failure =>
  new Failure({ code: ExitCode.storage, reason, message, next })

/**
 * The account of a failure, for the next step: how to log in again, and the account's name.
 *
 * @since 0.1.0
 * @category models
 */
export interface About {
  readonly account: string
  readonly login: string
}

/**
 * Why there is no token, for the user of an account.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromToken = (error: TokenError | ConfigError.ConfigError, about: About): Failure => {
  switch (error._tag) {
    case "ReauthorizationRequired":
      return new Failure({
        code: ExitCode.loginRequired,
        reason: error.reason,
        // The command itself saves the result of a login, so the error's advice where to save it is left out.
        message: `${about.account}: ${error.reason === "NoCredentials" ? "There are no credentials yet." : error.message}`,
        next: about.login
      })
    case "RefreshUnavailable":
      return new Failure({
        code: isConfiguration(error.reason) ? ExitCode.configuration : ExitCode.tryLater,
        reason: error.reason,
        message: `${about.account}: ${error.message}`,
        next: isConfiguration(error.reason) ? about.login : `latchkey explain ${about.account}`
      })
    case "GrantMismatch":
      return mismatch(new Mismatch({ ...error, difference: error.reason }), about)
    case "StorageError":
      return storage(error.reason, error.message, storageAdvice[error.reason])
    default:
      return configuration(configProblem(error))
  }
}

/**
 * The stored grant belongs to another server, client or account.
 *
 * @since 0.1.0
 * @category constructors
 */
export const mismatch = (found: Mismatch, about: About): Failure =>
  new Failure({
    code: ExitCode.configuration,
    reason: "GrantMismatch",
    message: `${about.account}: ${describeMismatch(found)}. Nothing was sent, and the stored grant was not changed.`,
    next: mismatchAdvice(about)
  })

/**
 * What to do about a grant of another server, client or account.
 *
 * @since 0.1.0
 * @category getters
 */
export const mismatchAdvice = ({ login }: About): string =>
  `${login} --replace (the old grant stays valid at its server); or set the old server and client again; or log in to another account, with --account NAME`

const isConfiguration = (reason: string): boolean => reason === "Misconfigured"

const storageAdvice: Readonly<Record<string, string>> = {
  Unavailable: "latchkey doctor",
  Denied: "latchkey doctor",
  Malformed: "latchkey doctor",
  Insecure: "latchkey doctor",
  WrongKey: "latchkey doctor"
}

/**
 * Describes the problem with a setting, in one line.
 *
 * @since 0.1.0
 * @category conversions
 */
export const configProblem = (error: ConfigError.ConfigError): string =>
  error.message !== "" ? error.message : String(error).replace(/\s+/g, " ")

/**
 * Reports only the kind of a defect. Its message and stack may quote anything.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromDefect = (defect: unknown): Failure =>
  new Failure({
    code: ExitCode.failed,
    reason: "Unexpected",
    message: `Something unexpected happened (${kindOf(defect)}). Nothing more is shown, because it may contain a secret.`,
    next: "latchkey doctor"
  })

const kindOf = (defect: unknown): string => {
  const name = defect instanceof Error ? defect.constructor.name : typeof defect
  const code = (defect as { readonly code?: unknown } | null | undefined)?.code
  return typeof code === "string" && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? `${name}, ${code}` : name
}

/**
 * The failure of a whole command. None if it was only interrupted.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromCause = (cause: Cause.Cause<Failure>): Option.Option<Failure> =>
  Option.orElse(Cause.failureOption(cause), () => Option.map(Cause.dieOption(cause), fromDefect))
