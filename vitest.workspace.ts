const project = (name: string) => ({
  extends: true as const,
  test: { name, include: [`packages/${name}/test/**/*.test.ts`] }
})

export default [project("core"), project("oauth"), project("storage")]
