import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.js"

export default defineConfig({
  resolve: { conditions: ["@latchkey/source"] },
  ssr: { resolve: { conditions: ["@latchkey/source"] } },
  test: { projects, testTimeout: 30_000 }
})
