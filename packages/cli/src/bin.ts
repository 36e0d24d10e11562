#!/usr/bin/env node
/** The command. A token that is asked for in a plain way is served without loading what parses all commands. */
import { plainToken, splitRest } from "./internal/arguments.js"

const argv = process.argv.slice(2)
const token = plainToken(argv)
if (token !== undefined) {
  const [Run, Token, Workspace] = [
    await import("./Run.js"),
    await import("./commands/Token.js"),
    await import("./Workspace.js")
  ]
  Run.main(Workspace.provided(Token.run(token)), { json: token.json })
} else {
  const [Run, Cli] = [await import("./Run.js"), await import("./Cli.js")]
  Run.main(Cli.run(argv), { json: splitRest(argv).own.includes("--json") })
}
