/**
 * `latchkey doctor`: diagnoses problems and suggests fixes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { ExitCode } from "../ExitCode.js"
import * as Doctor from "../Doctor.js"
import type * as Failure from "../Failure.js"
import { paint } from "../internal/text.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly json: boolean
}

/**
 * Changes nothing, and leaves nothing behind where it tests writing. Requests the clock of servers, and sends
 * them no secret. Ends with 1 if there is a problem.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const findings = yield* Doctor.all
    const isWell = findings.every(({ verdict }) => verdict !== "wrong")
    if (options.json) yield* Output.printJson({ ok: isWell, findings })
    else yield* Effect.flatMap(Output.Output, ({ stdout }) => show(findings, stdout.colors))
    return isWell ? ExitCode.ok : ExitCode.failed
  }).pipe(Effect.scoped)

const marks = { well: ["ok   ", "green"], note: ["note ", "yellow"], wrong: ["WRONG", "red"] } as const

const show = (findings: ReadonlyArray<Doctor.Finding>, colors: boolean) =>
  Effect.forEach(
    findings,
    ({ about, found, mend, verdict }) => {
      const [mark, color] = marks[verdict]
      const words = `${paint(mark, color, colors)} ${about}: ${Output.escape(found)}`
      return Output.print(words, ...(mend === null ? [] : [`      fix: ${mend}`]))
    },
    { discard: true }
  )
