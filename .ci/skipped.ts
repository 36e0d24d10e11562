/** Prints, at the end of a test run, one line for each part that was skipped because a program is missing. */
import type { TestProject } from "vitest/node"
import { prefix } from "./programs.js"

export default ({ vitest }: TestProject) =>
  () => {
    const lines = new Set(
      vitest.state
        .getTestModules()
        .flatMap((module) => [...module.children.allSuites()])
        .map(({ name }) => name)
        .filter((name) => name.startsWith(prefix))
    )
    for (const line of [...lines].sort()) process.stderr.write(`${line}\n`)
  }
