/**
 * Questions to the user: printed on stderr, answered on stdin.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createInterface } from "node:readline"
import { Writable } from "node:stream"
import * as Failure from "./Failure.js"
import * as Output from "./Output.js"

/** Whether there is a user at the terminal. */
const isInteractive: Effect.Effect<boolean> = Effect.sync(() => stdin()?.isTTY === true)

/**
 * Why there is no answer: the input ended before one came, which in a terminal is Ctrl-D; it cannot be read;
 * or it is longer than any answer.
 *
 * @since 0.1.0
 * @category models
 */
export type NoAnswer = "given up" | "no terminal" | "unreadable" | "too long"

/**
 * Reads one line, typed or pasted. Without a terminal, reads the first line of the standard input that is not
 * blank. Ctrl-C interrupts.
 *
 * @since 0.1.0
 * @category asking
 */
export const line = (
  question: string,
  otherwise: (why: NoAnswer) => Failure.Failure
): Effect.Effect<string, Failure.Failure, Output.Output> =>
  Effect.flatMap(Output.Output, ({ writeError }) =>
    Effect.flatMap(isInteractive, (interactive) =>
      Effect.mapError(interactive ? typed(writeError(Output.escape(question)), true) : piped(), otherwise)
    )
  )

/**
 * Reads a secret without echo. Fails if there is no terminal.
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
    const entered = yield* Effect.orElseSucceed(typed(writeError(Output.escape(question)), false), () => "")
    yield* writeError("\n")
    if (entered === "") return yield* Failure.usage("No secret was entered.", otherwise)
    return Redacted.make(entered)
  })

/** None if it is of a kind that cannot be read. */
const stdin = (): typeof process.stdin | undefined => {
  try {
    return process.stdin
  } catch {
    return undefined
  }
}

/** It may be a file, which does not keep the process alive and has no such method. */
const release = (): void => {
  const input = stdin()
  input?.pause()
  if (input !== undefined && "unref" in input) input.unref()
}

/**
 * Reads one key at a time in a terminal, because the terminal itself would cut a line at 4,095 characters.
 * Echo is off from before the question appears.
 */
const typed = (question: Effect.Effect<void>, echo: boolean): Effect.Effect<string, NoAnswer> =>
  Effect.async((resume) => {
    const output = echo ? process.stderr : new Writable({ write: (_, __, done) => done() })
    const lines = createInterface({ input: process.stdin, output, terminal: true, historySize: 0 })
    let answered = false
    const answer = (outcome: Effect.Effect<string, NoAnswer>) => {
      if (answered) return
      answered = true
      lines.close()
      release()
      resume(outcome)
    }
    // The terminal was closed. An error after the answer does not matter.
    process.stdin.on("error", () => answer(Effect.fail("unreadable")))
    lines.once("line", (text) => answer(Effect.succeed(text.trim())))
    lines.once("close", () => answer(Effect.fail("given up")))
    lines.once("SIGINT", () => answer(Effect.interrupt))
    Effect.runSync(question)
    return Effect.sync(() => {
      answered = true
      lines.close()
    })
  })

/** Longer than any URL that a browser ends at. An endless input is not read to its end. */
const longest = 65_536

const piped = (): Effect.Effect<string, NoAnswer> =>
  Effect.async((resume) => {
    const input = stdin()
    if (input === undefined) return resume(Effect.fail("unreadable"))
    let text = ""
    const stop = () => {
      input.off("data", take).off("end", end)
      release()
    }
    const answer = (outcome: Effect.Effect<string, NoAnswer>) => {
      stop()
      resume(outcome)
    }
    const take = (more: string) => {
      text += more
      const found = /^\s*(\S[^\r\n]*)[\r\n]/.exec(text)?.[1]
      if (found !== undefined && found.length <= longest) answer(Effect.succeed(found.trim()))
      else if (text.length > longest) answer(Effect.fail("too long"))
    }
    const end = () => answer(text.trim() === "" ? Effect.fail("no terminal") : Effect.succeed(text.trim()))
    input.setEncoding("utf8").on("data", take).once("end", end)
    // Left in place, because an error after the answer does not matter.
    input.on("error", () => answer(Effect.fail("unreadable")))
    return Effect.sync(stop)
  })
