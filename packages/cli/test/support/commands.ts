/** Runs commands one after another in its own process, as JSON in its first argument, and prints how each ended. */
import * as Desk from "./Desk.js"

const variables = new Map(Object.entries(process.env).map(([name, value]) => [name, value ?? ""]))
const ended: Array<Desk.Ended> = []
for (const argv of JSON.parse(process.argv[2] ?? "[]") as ReadonlyArray<ReadonlyArray<string>>)
  ended.push(await Desk.run(argv, variables))
process.stdout.write(JSON.stringify(ended), () => process.exit(0))
