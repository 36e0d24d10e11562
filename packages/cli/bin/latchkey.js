#!/usr/bin/env node
/*
 * The command as npm links it. What `npm run build` has bundled starts fast; in a checkout that is not built, the
 * sources run as they are, in a process of their own.
 */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

const bundle = new URL("../dist/bundle/bin.js", import.meta.url)

if (existsSync(bundle)) {
  await import(bundle.href)
} else {
  const { spawn } = await import("node:child_process")
  const { constants } = await import("node:os")
  const source = fileURLToPath(new URL("../src/bin.ts", import.meta.url))
  const child = spawn(
    process.execPath,
    [
      "--conditions=@latchkey/source",
      "--import",
      import.meta.resolve("tsx"),
      source,
      ...process.argv.slice(2)
    ],
    { stdio: "inherit" }
  )
  // A terminal sends Ctrl-C to both; whoever signals this process means the other.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}
