/**
 * `latchkey exec ACCOUNT -- CMD…`: runs a command with a valid token in its environment.
 *
 * The token is only in the environment of that command, never in its arguments. Signals are passed on, and
 * this process ends as the command does.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { spawn } from "node:child_process"
import { constants } from "node:os"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Signals from "../internal/signals.js"
import type * as Output from "../Output.js"
import * as Workspace from "../Workspace.js"
import * as Token from "./Token.js"

/**
 * The default variable for the token.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultVariable = "ACCESS_TOKEN"

/**
 * `variable` is the one for the token. `minValidity` is in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly command: ReadonlyArray<string>
  readonly variable: string
  readonly minValidity: number
}

/**
 * Ends with the command's own exit code; with 128 plus the signal's number if a signal ended it; with 126 or
 * 127 if it could not be run or found; and with 125 if there is no token for it.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<number, Failure.Failure, Output.Output> =>
  Effect.gen(function* () {
    const [program, ...args] = options.command
    if (program === undefined) {
      return yield* Failure.usage(
        "There is no command to run.",
        `latchkey exec ${options.account} -- COMMAND ARGUMENTS…`
      )
    }
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(options.variable)) {
      return yield* Failure.usage(
        `${JSON.stringify(options.variable.slice(0, 40))} is not a valid name for an environment variable.`,
        "--env NAME, of letters, digits and _"
      )
    }
    const { accessToken } = yield* Effect.scoped(Token.get(options.account, options.minValidity))
    return yield* execute(program, args, { [options.variable]: Redacted.value(accessToken) })
  }).pipe(
    Workspace.provided,
    Effect.mapError((failure) =>
      failure.code === ExitCode.usage ||
      failure.code === ExitCode.notFound ||
      failure.code === ExitCode.notExecutable
        ? failure
        : new Failure.Failure({
            code: ExitCode.exec,
            reason: failure.reason,
            message: failure.message,
            next: failure.next
          })
    )
  )

/** Cannot be interrupted: signals go to the command, and this process waits for its end. */
const execute = (
  program: string,
  args: ReadonlyArray<string>,
  added: Readonly<Record<string, string>>
): Effect.Effect<number, Failure.Failure> =>
  Effect.uninterruptible(
    Effect.async<number, Failure.Failure>((resume) => {
      const child = spawn(program, [...args], { stdio: "inherit", env: { ...process.env, ...added } })
      // Ctrl-C in a terminal reaches the command directly, because both are in the same process group.
      const release = Signals.take((signal) => {
        if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
      })
      child.once("error", (error: NodeJS.ErrnoException) => {
        release()
        resume(Effect.fail(notStarted(program, error.code ?? "unknown")))
      })
      child.once("exit", (code, signal) => {
        release()
        resume(Effect.succeed(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
      })
    })
  )

const notStarted = (program: string, code: string): Failure.Failure =>
  new Failure.Failure({
    code: code === "ENOENT" ? ExitCode.notFound : ExitCode.notExecutable,
    reason: code === "ENOENT" ? "NotFound" : "NotExecutable",
    message:
      code === "ENOENT"
        ? `The command ${JSON.stringify(program)} was not found.`
        : `The command ${JSON.stringify(program)} cannot be run (${code}).`
  })
