/** Says in the output of a test run what it leaves out, if anything; for `describe.skipIf`. */
export const told = (missing: string | undefined): string | undefined => {
  if (missing !== undefined) process.stderr.write(`${missing}\n`)
  return missing
}
