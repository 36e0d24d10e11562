/** Prints, at the end of a test run, one line for each part of a project that was skipped because a program is missing. */
import type { TestProject } from "vitest/node"
import { prefix } from "./programs.js"

export default ({ name, vitest }: TestProject) =>
  () => {
    const lines = new Set(
      vitest.state
        .getTestModules()
        .filter((module) => module.project.name === name)
        .flatMap((module) => [...module.children.allSuites()])
        .map((suite) => suite.name)
        .filter((title) => title.startsWith(prefix))
    )
    for (const line of [...lines].sort()) process.stderr.write(`${line}\n`)
  }
