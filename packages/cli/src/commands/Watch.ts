/**
 * Shows the table of accounts and updates it until Ctrl-C.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { ExitCode } from "../ExitCode.js"
import { plain, widthOf } from "../internal/text.js"
import type { Failure } from "../Failure.js"
import * as Output from "../Output.js"
import * as Report from "../Report.js"
import type { Services } from "../Run.js"

/** How often storage is read again. */
const interval = "1 second"

/**
 * On a terminal the table is redrawn in place. Elsewhere, and as JSON, a new one is written whenever
 * something other than the time has changed.
 *
 * @since 0.1.0
 * @category commands
 */
export const watch = (
  look: Effect.Effect<Report.Found, Failure, Services>,
  json: boolean
): Effect.Effect<ExitCode, Failure, Services> =>
  Effect.gen(function* () {
    const { stdout, write } = yield* Output.Output
    const inPlace = stdout.isTerminal && !json
    let drawn = 0
    let last = ""
    const draw = Effect.gen(function* () {
      const found = yield* look
      const now = yield* Clock.currentTimeMillis
      if (inPlace) {
        const lines = Report.lines(found, now, stdout)
        const shown = lines.length === 0 ? ["There are no accounts yet."] : lines
        yield* write(`${back(drawn)}${shown.map((line) => `${line}${eraseRest}\n`).join("")}${eraseBelow}`)
        drawn = shown.reduce((rows, line) => rows + heightOf(line, stdout.columns), 0)
        return
      }
      const state = JSON.stringify({
        ...found,
        rows: found.rows.map(({ expiresInSeconds: _, ...row }) => row)
      })
      if (state === last) return
      last = state
      yield* json
        ? Output.printJson({ accounts: found.rows })
        : write(`${Report.lines(found, now, stdout).join("\n")}\n`)
    })
    return yield* Effect.forever(Effect.zipRight(draw, Effect.sleep(interval))).pipe(
      Effect.ensuring(inPlace ? write(showCursor) : Effect.void),
      Effect.zipRight(Effect.never),
      (drawing) => (inPlace ? Effect.zipRight(write(hideCursor), drawing) : drawing)
    )
  })

/** How many rows of the terminal a line takes: a line that is too long wraps. */
const heightOf = (line: string, columns: number): number =>
  plain(line)
    .split("\n")
    .reduce((rows, part) => rows + Math.max(1, Math.ceil(widthOf(part) / columns)), 0)

const back = (lines: number): string => (lines === 0 ? "" : `\u001b[${lines}A\r`)
const eraseRest = "\u001b[K"
const eraseBelow = "\u001b[J"
const hideCursor = "\u001b[?25l"
const showCursor = "\u001b[?25h"
