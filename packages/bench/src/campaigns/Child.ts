/**
 * The environment of a campaign's child process: its job in the first argument, and lines of JSON to and from
 * its parent.
 */
import * as Effect from "effect/Effect"
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"

export const job: unknown = JSON.parse(process.argv[2] ?? "null")

export const say = (value: unknown): void => void writeSync(1, `${JSON.stringify(value)}\n`)

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

/** Waits for the next line from the parent. */
export const told = Effect.promise(() => input.next())
