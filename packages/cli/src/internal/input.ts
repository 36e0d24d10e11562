/** Reads the standard input of a protocol: complete, bounded, and not beyond its end. */
import * as Effect from "effect/Effect"
import * as Failure from "../Failure.js"

/** Far longer than any request. An endless input is not read to its end. */
const longest = 65_536

/** Node throws if the input is of a kind that cannot be read. */
const stdin = (): typeof process.stdin | undefined => {
  try {
    return process.stdin
  } catch {
    return undefined
  }
}

/**
 * Returns the text until the end of the input, or until `isComplete`. Nothing of it is quoted in a failure,
 * because it may hold a password.
 */
export const read = (
  isComplete: (text: string) => boolean = () => false
): Effect.Effect<string, Failure.Failure> =>
  Effect.async((resume) => {
    const input = stdin()
    const unreadable = Failure.usage(
      "The standard input cannot be read.",
      "write the request into the command with a pipe"
    )
    if (input === undefined) return resume(Effect.fail(unreadable))
    const parts: Array<Buffer> = []
    let length = 0
    const answer = (outcome: Effect.Effect<string, Failure.Failure>) => {
      input.off("data", take).off("end", end)
      input.pause()
      // A file as input has no such method.
      if ("unref" in input) input.unref()
      resume(outcome)
    }
    const text = () => Buffer.concat(parts).toString("utf8")
    const take = (part: Buffer | string) => {
      const bytes = Buffer.from(part)
      length += bytes.length
      parts.push(bytes)
      if (length > longest) {
        answer(
          Effect.fail(
            Failure.usage(
              `The request on the standard input is longer than ${longest} bytes.`,
              "write one request, and close the input"
            )
          )
        )
      } else if (isComplete(text())) answer(Effect.succeed(text()))
    }
    const end = () => answer(Effect.sync(text))
    input.on("data", take).once("end", end)
    // Left in place, because an error after the answer does not matter.
    input.on("error", () => answer(Effect.fail(unreadable)))
    return Effect.sync(() => {
      input.off("data", take).off("end", end)
      input.pause()
    })
  })
