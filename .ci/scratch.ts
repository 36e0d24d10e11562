/** A directory for each run of the tests, removed at its end. Programs that many test files start are bundled in it. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { TestProject } from "vitest/node"

export default ({ provide }: TestProject) => {
  // Below `node_modules`, so that what is bundled finds the packages that stay outside.
  const cache = fileURLToPath(new URL("../node_modules/.cache/", import.meta.url))
  mkdirSync(cache, { recursive: true })
  const scratch = mkdtempSync(`${cache}tests-`)
  provide("scratch", scratch)
  return () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 })
}
