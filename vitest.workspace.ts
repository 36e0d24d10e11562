/**
 * One project, so that all test files wait in one queue. Run a part of them by its path:
 * `npx vitest run packages/core`.
 */
export default [
  {
    extends: true as const,
    test: {
      name: "latchkey",
      globalSetup: new URL(".ci/skipped.ts", import.meta.url).pathname,
      include: [".ci", "tools/edition", "packages/*/test", "examples/*/test"].map(
        (folder) => `${folder}/**/*.test.ts`
      )
    }
  }
]
