/**
 * How a command ends: its failure in words on stderr, its exit code, and its reaction to signals.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import { writeSync } from "node:fs"
import { ExitCode } from "./ExitCode.js"
import * as Failure from "./Failure.js"
import * as Signals from "./internal/signals.js"
import { paint } from "./internal/text.js"
import * as Output from "./Output.js"
import type * as Workspace from "./Workspace.js"

/**
 * The services of every command.
 *
 * @since 0.1.0
 * @category models
 */
export type Services = Output.Output | Workspace.Workspace

/**
 * Converts the end of a command to an exit code, and reports a failure on stderr: in one line of JSON if that
 * was requested.
 *
 * @since 0.1.0
 * @category running
 */
export const settle = <R>(
  command: Effect.Effect<number, Failure.Failure, R>,
  options: { readonly json: boolean }
): Effect.Effect<number, never, R | Output.Output> =>
  Effect.matchCauseEffect(command, {
    onSuccess: Effect.succeed,
    onFailure: (cause) =>
      Option.match(Failure.fromCause(cause), {
        onNone: () =>
          Cause.isInterruptedOnly(cause)
            ? Effect.succeed(ExitCode.interrupted)
            : Effect.succeed(ExitCode.failed),
        onSome: (failure) => Effect.as(tell(failure, options.json), failure.code)
      })
  })

const tell = (failure: Failure.Failure, json: boolean): Effect.Effect<void, never, Output.Output> =>
  Effect.flatMap(Output.Output, ({ stderr: { colors } }) => {
    const { code, message, next, reason } = failure
    if (json) return Output.sayJson({ error: { code, reason, message, next: next ?? null } })
    const head = paint("latchkey:", "red", colors)
    const tail = next === undefined ? [] : [`${paint("    next:", "bold", colors)} ${next}`]
    return Output.say(`${head} ${message}`, ...tail)
  })

/** Nothing is logged by default. On request the log goes to stderr, because stdout is for results. */
const logging = Layer.merge(
  Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)),
  Logger.minimumLogLevel(LogLevel.None)
)

/**
 * Runs a command as this process, and ends the process. The first Ctrl-C interrupts it in order: a running
 * refresh is finished, so that no token is lost. A second one ends it at once.
 *
 * @since 0.1.0
 * @category running
 */
export const main = (
  command: Effect.Effect<number, Failure.Failure, Output.Output>,
  options: { readonly json: boolean }
): void => {
  const output = Layer.mapError(Output.layer, (error) => Failure.configuration(Failure.configProblem(error)))
  const program = settle(command, options).pipe(
    Effect.provide(output),
    // Without the configured output, so that every failure is reported.
    Effect.catchAllCause((cause) =>
      Effect.provide(settle(Effect.failCause(cause), options), Output.layerPlain)
    ),
    Effect.provide(logging)
  )
  process.on("uncaughtException", (error) => {
    writeSync(2, `latchkey: ${Failure.fromDefect(error).message}\n`)
    process.exit(ExitCode.failed)
  })
  const fiber = Effect.runFork(program)
  let signalled: number | undefined
  Signals.take((signal) => {
    const code = signal === "SIGINT" ? ExitCode.interrupted : ExitCode.terminated
    if (signalled !== undefined) process.exit(code)
    signalled = code
    fiber.unsafeInterruptAsFork(fiber.id())
  })
  fiber.addObserver((exit) => process.exit(Exit.getOrElse(exit, () => signalled ?? ExitCode.failed)))
}
