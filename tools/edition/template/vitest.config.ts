import { defineConfig } from "vitest/config"
// This file is used in a folder of the repository: the same projects as in Effect 3.
import projects from "../vitest.workspace.js"

export default defineConfig({
  resolve: { conditions: ["@latchkey/source"] },
  ssr: { resolve: { conditions: ["@latchkey/source"] } },
  test: {
    projects,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    poolOptions: { forks: { isolate: false } },
    minWorkers: 4,
    maxWorkers: 4,
    maxConcurrency: 10
  }
})
