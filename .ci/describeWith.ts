import { describe, type TestOptions } from "vitest"
import type { Program } from "./programs.js"

/**
 * A suite that needs a program. If the program is missing, the whole suite is skipped, with a title that says
 * so.
 */
export const describeWith = (
  { missing }: Program,
  title: string,
  body: () => void,
  options: TestOptions = {}
): void => {
  describe.skipIf(missing !== undefined)(missing ?? title, options, body)
}
