/** The output of the quickstart: live and in words, or at the end as data. */
import { Clock, Effect } from "effect"

type Figures = Readonly<Record<string, number | string | boolean>>

interface Result {
  readonly scene: string
  readonly asPromised: boolean
  readonly figures: Figures
}

export interface Report {
  readonly intro: (...lines: ReadonlyArray<string>) => Effect.Effect<void>
  readonly scene: (title: string) => Effect.Effect<void>
  readonly step: (text: string) => Effect.Effect<void>
  readonly result: (scene: string, figures: Figures, asPromised: boolean) => Effect.Effect<void>
  /** Prints the table, or the data. Returns whether everything went as promised. */
  readonly end: Effect.Effect<boolean>
}

const bold = (text: string): string => (process.stdout.isTTY ? `\u001b[1m${text}\u001b[22m` : text)

export const make = (asJson: boolean): Effect.Effect<Report> =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    const seconds = Effect.map(Clock.currentTimeMillis, (now) => (now - began) / 1000)
    const results: Array<Result> = []
    const steps: Array<string> = []
    const print = (line: string) => Effect.sync(() => void (asJson || process.stdout.write(`${line}\n`)))
    return {
      intro: (...lines) => Effect.forEach(lines, print, { discard: true }),
      scene: (title) => print(`\n${bold(`${results.length + 1}. ${title}`)}`),
      step: (text) =>
        Effect.flatMap(seconds, (s) => {
          steps.push(text)
          return print(`   ${s.toFixed(1).padStart(4)} s  ${text}`)
        }),
      result: (scene, figures, asPromised) =>
        Effect.sync(() => void results.push({ scene, asPromised, figures })),
      end: Effect.gen(function* () {
        const took = yield* seconds
        const asPromised = results.every((r) => r.asPromised)
        if (asJson) {
          process.stdout.write(`${JSON.stringify({ asPromised, seconds: took, scenes: results, steps })}\n`)
          return asPromised
        }
        const width = Math.max(...results.map((r) => r.scene.length))
        const rows = results.map(({ asPromised, figures, scene }) => {
          const told = Object.entries(figures).map(([name, value]) => `${name} ${value}`)
          return `  ${asPromised ? "ok" : "NOT AS PROMISED"}  ${scene.padEnd(width)}  ${told.join(", ")}`
        })
        yield* print("")
        yield* Effect.forEach(rows, print, { discard: true })
        yield* print(`\n${took.toFixed(1)} s. Nothing is left behind: the file and the server are gone.`)
        return asPromised
      })
    }
  })
