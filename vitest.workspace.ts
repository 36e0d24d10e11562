const folders = [".ci", "packages/*/test", "examples/*/test"]

/**
 * These replace a module, or the services of all tests, for the whole of their process, or test what a module remembers
 * from all that came before.
 */
const alone = [
  "packages/core/test/Credentials.test.ts",
  "packages/core/test/Entry.test.ts",
  "packages/oauth/test/Chromium.test.ts",
  "packages/providers/test/OwnersChoice.test.ts",
  "packages/storage/test/FileFaults.test.ts"
]

/**
 * Test files share the processes of four workers: most of the time went into loading Effect again for each file. Those
 * that run alone have a thread each. Run a part of them by its path: `npx vitest run packages/core`.
 */
export default [
  {
    extends: true as const,
    test: {
      name: "latchkey",
      // At the end, for the test files of both.
      globalSetup: [".ci/scratch.ts", ".ci/skipped.ts"].map(
        (file) => new URL(file, import.meta.url).pathname
      ),
      // The tests in the edition's modules are for Effect 4.
      include: [...folders.map((folder) => `${folder}/**/*.test.ts`), "tools/edition/*.test.ts"],
      exclude: alone,
      isolate: false
    }
  },
  { extends: true as const, test: { name: "alone", include: alone, pool: "threads" } }
]
