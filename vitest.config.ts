import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.js"

export default defineConfig({
  resolve: { conditions: ["@latchkey/source"] },
  ssr: { resolve: { conditions: ["@latchkey/source"] } },
  test: {
    projects,
    // For a machine under other load. A test of speed sets its own limit.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    // Here, because a project's own `isolate` does not keep the processes of the pool.
    poolOptions: { forks: { isolate: false } },
    // Many tests wait for leases to lapse and children to start, so there are more workers than cores.
    minWorkers: 4,
    maxWorkers: 4,
    maxConcurrency: 10,
    coverage: {
      include: [
        "AuthStatus",
        "Credentials",
        "grant/BackOff",
        "grant/Decision",
        "grant/Describe",
        "grant/Expiry",
        "grant/Mismatch",
        "grant/Replay",
        "grant/Round",
        "AccountReport",
        "internal/EntrySchema",
        "internal/ResponseFields",
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
