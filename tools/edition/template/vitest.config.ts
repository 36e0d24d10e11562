import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["@latchkey/source"] },
  ssr: { resolve: { conditions: ["@latchkey/source"] } },
  test: {
    include: ["packages/*/test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks"
  }
})
