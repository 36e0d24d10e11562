import type { Rule } from "../Edit.js"
import * as calls from "./calls.js"
import * as renames from "./renames.js"
import * as results from "./results.js"
import * as schemas from "./schemas.js"
import * as services from "./services.js"
import * as tests from "./tests.js"

export const rules: ReadonlyArray<Rule> = [
  ...Object.values(renames),
  ...Object.values(results),
  ...Object.values(services),
  ...Object.values(schemas),
  ...Object.values(calls),
  ...Object.values(tests)
]
