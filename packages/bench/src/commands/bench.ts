/**
 * `npm run bench [-- NAME… --json --small --write]`: compares Latchkey with its alternatives. Absolute times
 * are this machine's. The ratios are of one run. `--small` shows that everything works, and judges nothing.
 * `--write` puts the results into packages/docs/guide/performance.md and packages/bench/results/speed.json.
 */
import { fork } from "node:child_process"
import { cpus } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { benches } from "../benches/index.js"
import { bundleBench } from "../Bundle.js"
import { commandLine, refuse } from "../CommandLine.js"
import { buildPackages, installPeers } from "../Install.js"
import { wallClock } from "../Peer.js"
import { publish } from "../Publish.js"
import { asText, type Findings } from "../Report.js"
import { startServer } from "../Servers.js"

const usage = `usage: npm run bench -- [${Object.keys(benches).join("|")}] [--json] [--small | --write]\n`
const { positionals, values } = commandLine(usage, {
  json: { type: "boolean", default: false },
  small: { type: "boolean", default: false },
  write: { type: "boolean", default: false }
})
const unknown = positionals.filter((name) => !Object.hasOwn(benches, name))
if (unknown.length > 0) refuse(usage, `no bench is called ${unknown.join(", ")}`)
if (values.small && values.write) refuse(usage, "what --small found is not worth writing")

const measure = async (
  name: string,
  served: { readonly accessTokenTtl: number; readonly answersAfter?: number }
): Promise<Findings> => {
  const server = await startServer(served)
  try {
    return await new Promise((resolve, reject) => {
      const given = { issuer: server.issuer, small: values.small, packages }
      const child = fork(program, [name, JSON.stringify(given)], {
        // JSON has no NaN, which stands for a missing figure.
        serialization: "advanced",
        stdio: ["ignore", 2, 2, "ipc"]
      })
      let answered = false
      child.on("message", (message: { readonly question?: string; readonly findings?: Findings }) => {
        if (message.question === "login") void server.login().then((token) => child.send(token))
        else if (message.question === "figures") void server.figures().then((seen) => child.send(seen))
        else if (message.findings !== undefined) {
          answered = true
          resolve(message.findings)
        }
      })
      child.on("exit", (code) => {
        if (!answered) reject(new Error(`The bench ${name} ended with ${code} before it was done.`))
      })
    })
  } finally {
    server.stop()
  }
}

const libraries = installPeers()
const packages = fileURLToPath(new URL("../../..", import.meta.url))
buildPackages()
const program = await bundleBench(libraries)
const found: Record<string, Findings> = {}
for (const [name, spec] of Object.entries(benches)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue
  const began = performance.now()
  found[name] = await measure(name, spec)
  const seconds = Math.round((performance.now() - began) / 1000)
  if (!values.json) process.stdout.write(`${name}, in ${seconds} s\n\n${asText(found[name])}\n\n`)
}
if (values.json) {
  const machine = { node: process.version, cores: cpus().length, small: values.small }
  process.stdout.write(`${JSON.stringify({ ...machine, found })}\n`)
}
if (values.write) {
  const date = new Date(wallClock()).toISOString().slice(0, 10)
  const run = { date, node: process.version, cores: cpus().length }
  const fresh = Object.entries(found).map(([name, findings]) => [name, { ...run, findings }])
  const files = publish(join(packages, ".."), Object.fromEntries(fresh))
  process.stderr.write(`wrote ${files.join(", ")}\n`)
}
process.exit()
