/** The whole command. The plain forms of `token` are served without loading the parser of all commands. */
import { plainToken, splitRest } from "./internal/arguments.js"

// The driver of the store finds its binary with a report of this process. The network takes longest, and is not used.
Object.assign(process.report, { excludeNetwork: true })

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
