/*
 * npm run examples [NAME…]: runs the main program of every example, two at a time, and reports which of them
 * succeeded. The output of a failing one follows its line.
 */
import { spawn } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const wanted = process.argv.slice(2)
const names = readdirSync(join(root, "examples")).filter(
  (name) =>
    existsSync(join(root, "examples", name, "src/main.ts")) && (wanted.length === 0 || wanted.includes(name))
)

const run = (name) =>
  new Promise((resolve) => {
    const main = join("examples", name, "src/main.ts")
    const started = performance.now()
    const child = spawn("tsx", ["--conditions=@latchkey/source", main], {
      cwd: root,
      env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}` },
      timeout: 300_000
    })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk))
    child.on("close", (code) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      const skipped = /^skipped: .*$/m.exec(output)?.[0] ?? ""
      console.log(`${code === 0 ? "ok  " : "FAIL"} ${name.padEnd(18)} ${seconds.padStart(6)} s  ${skipped}`)
      if (code !== 0 || wanted.length > 0) console.log(`\n${output}`)
      resolve(code === 0)
    })
  })

const queue = [...names]
const results = []
const worker = async () => {
  while (queue.length > 0) results.push(await run(queue.shift()))
}
await Promise.all([worker(), worker()])
const passed = results.filter(Boolean).length
console.log(`${passed} of ${results.length} examples ended well`)
process.exitCode = results.length > 0 && passed === results.length ? 0 : 1
