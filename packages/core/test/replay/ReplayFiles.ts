/** Replays files by name, as `npm run -s replay` does. */
import { readFile } from "node:fs/promises"
import { extname } from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { replayText, type Report } from "./Replay.js"

const usage = `usage: npm run -s replay -- FILE…

Replays what was recorded: .jsonl (traces, one a line), .json (a list of maskings).
Prints one line of JSON: {"traces":n,"steps":n,"masks":n,"mismatches":[…]}.
Exit code: 0 all agrees, 1 a mismatch, 2 a file that cannot be read.
`

const why = (error: unknown): string => {
  const code = error instanceof Error && "code" in error ? String(error.code) : ""
  const words: Record<string, string> = {
    ENOENT: "there is no such file",
    EISDIR: "it is a directory",
    EACCES: "it may not be read",
    ERR_ENCODING_INVALID_ENCODED_DATA: "it is not UTF-8"
  }
  return words[code] ?? `it cannot be read (${code === "" ? String(error) : code})`
}

const textOf = async (file: string): Promise<Either.Either<string, string>> => {
  if (![".jsonl", ".json"].includes(extname(file))) {
    return Either.left(`${file}: neither a .jsonl (traces) nor a .json (maskings)`)
  }
  try {
    return Either.right(new TextDecoder("utf-8", { fatal: true }).decode(await readFile(file)))
  } catch (error) {
    return Either.left(`${file}: ${why(error)}`)
  }
}

/** What the command says, and where, and its exit code. */
interface Said {
  readonly code: 0 | 1 | 2
  readonly out?: string
  readonly err?: string
}

/** The command with these arguments. */
export const replayFiles = async (args: ReadonlyArray<string>): Promise<Said> => {
  const files = args.filter((arg) => arg !== "--")
  if (files.some((file) => file === "--help" || file === "-h")) return { code: 0, out: usage }
  if (files.length === 0) return { code: 2, err: usage }
  const report: Report = { traces: 0, steps: 0, masks: 0, mismatches: [] }
  for (const file of files) {
    const text = await textOf(file)
    if (Either.isLeft(text)) return { code: 2, err: `${text.left}\n` }
    const replayed = await Effect.runPromise(Effect.either(replayText(report, file, text.right)))
    if (Either.isLeft(replayed)) return { code: 2, err: `${replayed.left.message}\n` }
  }
  return { code: report.mismatches.length === 0 ? 0 : 1, out: `${JSON.stringify(report)}\n` }
}
