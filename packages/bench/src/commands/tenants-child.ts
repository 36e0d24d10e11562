/** The processes of `accounts` and `fleet`: the job comes as JSON in the first argument, answers go out as JSON. */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import type { Backend } from "../campaigns/Backend.js"
import * as TenantProcess from "../campaigns/TenantProcess.js"

type Job = { readonly backend: Backend; readonly n: number } & (
  { readonly do: "measure"; readonly due: number } | { readonly do: "serve"; readonly port: number }
)

const job = JSON.parse(process.argv[2] ?? "") as Job
const say = (value: unknown): void => void writeSync(1, `${JSON.stringify(value)}\n`)
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const told = Effect.promise(() => input.next())

// What it says goes out in lines of JSON, and nothing else.
const silent = Logger.minimumLogLevel(LogLevel.None)

await Effect.runPromise(
  Effect.provide(
    job.do === "measure"
      ? Effect.map(TenantProcess.measure(job.backend, job.n, job.due), say)
      : TenantProcess.serve(job.backend, job.n, job.port, told, say),
    silent
  )
)
process.exit(0)
