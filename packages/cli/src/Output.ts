/**
 * The output of the command: results to stdout, text for people to stderr.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Text from "./internal/text.js"
import { writeAll } from "./internal/writeAll.js"

export {
  /**
   * Writes control, bidirectional and invisible characters as escapes, so that no name or message can move
   * the cursor or hide a part of itself.
   *
   * @since 0.1.0
   * @category text
   */
  escape
} from "./internal/text.js"

/**
 * The properties of a stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface Surface {
  readonly isTerminal: boolean
  /**
   * Whether to use colours: the terminal supports them and `NO_COLOR` is not set, or `FORCE_COLOR` is set.
   */
  readonly colors: boolean
  readonly columns: number
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Output extends Context.Tag("@latchkey/cli/Output")<
  Output,
  {
    readonly stdout: Surface
    readonly stderr: Surface
    /** Writes to stdout unchanged. */
    readonly write: (text: string) => Effect.Effect<void>
    /** Writes to stderr unchanged. */
    readonly writeError: (text: string) => Effect.Effect<void>
  }
>() {}

/**
 * Prints lines on stdout. Foreign text in them is escaped, so each stays one line.
 *
 * @since 0.1.0
 * @category writing
 */
export const print = (...lines: ReadonlyArray<string>): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, ({ stdout, write }) =>
    write(lines.map((line) => `${Text.escapePainted(line, stdout.colors)}\n`).join(""))
  )

/**
 * Prints a value on stdout as one line of JSON.
 *
 * @since 0.1.0
 * @category writing
 */
export const printJson = (value: unknown): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, ({ write }) => write(`${Text.json(value)}\n`))

/**
 * Prints lines for people on stderr. Foreign text in them cannot move the cursor.
 *
 * @since 0.1.0
 * @category writing
 */
export const say = (...lines: ReadonlyArray<string>): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, ({ stderr, writeError }) =>
    writeError(lines.map((line) => `${Text.escapePainted(line, stderr.colors)}\n`).join(""))
  )

/**
 * Prints a value on stderr as one line of JSON.
 *
 * @since 0.1.0
 * @category writing
 */
export const sayJson = (value: unknown): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, ({ writeError }) => writeError(`${Text.json(value)}\n`))

/**
 * Shows a progress message on stderr. On a terminal the next one overwrites it. Elsewhere it is left out.
 *
 * @since 0.1.0
 * @category writing
 */
export const progress = (words: string): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, (output) =>
    output.stderr.isTerminal
      ? output.writeError(`\r\u001b[2K${Text.escapeLine(words).slice(0, output.stderr.columns - 1)}`)
      : Effect.void
  )

/**
 * Removes the last progress message.
 *
 * @since 0.1.0
 * @category writing
 */
export const endProgress: Effect.Effect<void, never, Output> = progress("")

/**
 * The streams of this process. A reader that has disconnected is not an error.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Output, ConfigError.ConfigError> = Layer.effect(
  Output,
  Effect.gen(function* () {
    const noColor = yield* variable("NO_COLOR")
    const forced = yield* variable("FORCE_COLOR")
    const dumb = (yield* variable("TERM")) === "dumb"
    const surface = (stream: NodeJS.WriteStream): Surface => {
      const isTerminal = stream.isTTY === true
      return {
        isTerminal,
        colors:
          noColor === "" && ((forced !== "" && forced !== "0") || (isTerminal && !dumb && forced !== "0")),
        columns: isTerminal && stream.columns > 0 ? stream.columns : 80
      }
    }
    return {
      stdout: surface(process.stdout),
      stderr: surface(process.stderr),
      write: writers.write,
      writeError: writers.writeError
    }
  })
)

const writers = {
  write: (text: string) => Effect.sync(() => writeAll(1, text)),
  writeError: (text: string) => Effect.sync(() => writeAll(2, text))
}

const colourless: Surface = { isTerminal: false, colors: false, columns: 80 }

/**
 * The streams of this process, treated as files. For when the environment cannot be read.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPlain: Layer.Layer<Output> = Layer.succeed(Output, {
  stdout: colourless,
  stderr: colourless,
  write: writers.write,
  writeError: writers.writeError
})

const variable = (name: string): Config.Config<string> => Config.withDefault(Config.string(name), "")
