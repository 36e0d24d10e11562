/**
 * The arguments of a command. An unknown one ends the program with one line and the usage, without a stack.
 */
import { parseArgs, type ParseArgsConfig } from "node:util"

type Options = NonNullable<ParseArgsConfig["options"]>

/** Ends the program with code 2. */
export const refuse = (usage: string, why: string): never => {
  process.stderr.write(`${why}\n${usage}`)
  process.exit(2)
}

const read = <const O extends Options>(options: O) => parseArgs({ allowPositionals: true, options })

/** Returns the names and options. `--help` prints the usage and ends the program with code 0. */
export const commandLine = <const O extends Options>(
  usage: string,
  options: O
): ReturnType<typeof read<O>> => {
  if (process.argv.slice(2).some((arg) => arg === "--help" || arg === "-h")) {
    process.stdout.write(usage)
    process.exit(0)
  }
  try {
    return read(options)
  } catch (error) {
    // Its first sentence names the option. The rest is about the shell.
    const why = error instanceof Error ? (error.message.split(". ")[0] ?? "") : String(error)
    return refuse(usage, why)
  }
}
