#!/usr/bin/env node
/** The command. A token that an agent has is printed without loading Effect. */
import { print } from "./internal/agentToken.js"
import * as CompileCache from "./internal/compileCache.js"

if (!(await print(process.argv.slice(2), process.env))) {
  CompileCache.enable(process.env)
  await import("./main.js")
}
