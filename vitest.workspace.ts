const folders = [".ci", "tools/edition", "packages/*/test", "examples/*/test"]

/** These replace a module, or the services of all tests, for the whole of their process. */
const alone = [
  "packages/oauth/test/Chromium.test.ts",
  "packages/providers/test/OwnersChoice.test.ts",
  "packages/storage/test/FileFaults.test.ts"
]

/**
 * Test files share the processes of four workers: most of the time went into loading Effect again for each file. Run
 * a part of them by its path: `npx vitest run packages/core`.
 */
export default [
  {
    extends: true as const,
    test: {
      name: "latchkey",
      // At the end, for the test files of both.
      globalSetup: new URL(".ci/skipped.ts", import.meta.url).pathname,
      include: folders.map((folder) => `${folder}/**/*.test.ts`),
      exclude: alone,
      isolate: false
    }
  },
  { extends: true as const, test: { name: "alone", include: alone } }
]
