import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.js"

export default defineConfig({
  resolve: { conditions: ["@latchkey/source"] },
  ssr: { resolve: { conditions: ["@latchkey/source"] } },
  test: {
    projects,
    testTimeout: 30_000,
    // Many wait for leases to lapse and children to start: more workers than cores.
    minWorkers: 1,
    maxWorkers: 4,
    coverage: {
      include: [
        "AuthStatus",
        "Credentials",
        "Decision",
        "Entry",
        "Fingerprint",
        "RotationPolicy",
        "Snapshot"
      ].map((pure) => `packages/core/src/${pure}.ts`),
      reporter: ["text"],
      thresholds: { 100: true, perFile: true }
    }
  }
})
