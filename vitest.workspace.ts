const project = (name: string, folder: string) => ({
  extends: true as const,
  test: { name, include: [`${folder}/**/*.test.ts`] }
})

export default [
  project("house", ".ci"),
  project("core", "packages/core/test"),
  project("oauth", "packages/oauth/test"),
  project("storage", "packages/storage/test"),
  project("providers", "packages/providers/test"),
  project("cli", "packages/cli/test"),
  project("bench", "packages/bench/test"),
  project("examples", "examples/*/test")
]
