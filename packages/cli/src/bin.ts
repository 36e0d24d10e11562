#!/usr/bin/env node
/** The command. A token that an agent has is printed without loading Effect. */
import { print } from "./internal/agentToken.js"

if (!(await print(process.argv.slice(2), process.env))) await import("./main.js")
