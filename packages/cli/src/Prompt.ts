/**
 * Questions to the user: asked on stderr, answered on stdin.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createInterface } from "node:readline"
import { Writable } from "node:stream"
import * as Failure from "./Failure.js"
import * as Output from "./Output.js"

/** Whether somebody can be asked. */
const isInteractive: Effect.Effect<boolean> = Effect.sync(() => process.stdin.isTTY === true)

/**
 * One line, as it is typed or pasted, or as it comes through a pipe; blank at the end of the input. Ctrl-C
 * interrupts.
 *
 * @since 0.1.0
 * @category asking
 */
export const line = (question: string): Effect.Effect<string, never, Output.Output> =>
  Effect.flatMap(Output.Output, ({ writeError }) => read(writeError(Output.escape(question)), true))

/**
 * A secret, which is not shown while it is typed. Where nobody can be asked, that is a failure.
 *
 * @since 0.1.0
 * @category asking
 */
export const secret = (
  question: string,
  otherwise: string
): Effect.Effect<Redacted.Redacted, Failure.Failure, Output.Output> =>
  Effect.gen(function* () {
    if (!(yield* isInteractive)) {
      return yield* Failure.usage(`There is no terminal to ask for a secret in.`, otherwise)
    }
    const { writeError } = yield* Output.Output
    const typed = yield* read(writeError(Output.escape(question)), false)
    yield* writeError("\n")
    if (typed === "") return yield* Failure.usage("No secret was entered.", otherwise)
    return Redacted.make(typed)
  })

/**
 * In a terminal, a key at a time: the terminal itself would cut a line at 4,095 characters. It shows nothing by
 * itself from before the question is there to be answered.
 */
const read = (question: Effect.Effect<void>, echo: boolean): Effect.Effect<string> =>
  Effect.async<string>((resume) => {
    const terminal = process.stdin.isTTY === true
    const output = echo && terminal ? process.stderr : new Writable({ write: (_, __, done) => done() })
    const lines = createInterface({ input: process.stdin, output, terminal, historySize: 0 })
    let answered = false
    const answer = (outcome: Effect.Effect<string>) => {
      if (answered) return
      answered = true
      lines.close()
      process.stdin.unref()
      resume(outcome)
    }
    lines.once("line", (text) => answer(Effect.succeed(text.trim())))
    lines.once("close", () => answer(Effect.succeed("")))
    lines.once("SIGINT", () => answer(Effect.interrupt))
    Effect.runSync(question)
    return Effect.sync(() => {
      answered = true
      lines.close()
    })
  })
