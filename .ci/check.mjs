/*
 * npm run check: runs every script named check:*, two at a time, one line each. The output of a failing one
 * follows its line. check:exports needs the output of check:types, so it waits for it.
 */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const env = {
  ...process.env,
  PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}`,
  ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" })
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`

const run = (command) =>
  new Promise((resolve) => {
    const child = spawn(command, { cwd: root, env, shell: true })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk))
    child.on("close", (code) => resolve({ passed: code === 0, output }))
  })

const check = async (name) => {
  const started = performance.now()
  const { passed, output } = await run(scripts[name])
  console.log(`${passed ? "ok  " : "FAIL"} ${name.padEnd(14)} ${seconds(started).padStart(7)}`)
  if (!passed) console.log(`\n${output}`)
  return passed
}

const inTurn = async (names) => {
  const results = []
  for (const name of names) results.push(await check(name))
  return results
}

const started = performance.now()
const built = ["check:types", "check:exports"]
const others = Object.keys(scripts).filter((name) => name.startsWith("check:") && !built.includes(name))
const results = (await Promise.all([inTurn(built), inTurn(others)])).flat()
const passed = results.filter(Boolean).length
console.log(`${passed} of ${results.length} checks passed in ${seconds(started)}`)
process.exitCode = passed === results.length ? 0 : 1
