/** `npm run -s replay -- FILE…`: one JSON line; exit 1 on any mismatch, 2 where a file cannot be replayed. */
import { readFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { replayText, type Report } from "../Replay.js"

const main = async (files: ReadonlyArray<string>): Promise<number> => {
  if (files.length === 0) {
    process.stderr.write("usage: npm run -s replay -- FILE…   (.jsonl: traces, .json: maskings)\n")
    return 2
  }
  const report: Report = { traces: 0, steps: 0, masks: 0, mismatches: [] }
  for (const file of files) {
    try {
      await Effect.runPromise(replayText(report, file, await readFile(file, "utf8")))
    } catch (error) {
      process.stderr.write(
        `${file} cannot be replayed: ${error instanceof Error ? error.message : String(error)}\n`
      )
      return 2
    }
  }
  process.stdout.write(`${JSON.stringify(report)}\n`)
  return report.mismatches.length === 0 ? 0 : 1
}

process.exitCode = await main(process.argv.slice(2))
