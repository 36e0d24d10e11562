/** The record of who holds the leases of one file, and which fencing number was the last one granted. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { hostname } from "node:os"
import { FileProblem } from "./FileProblem.js"
import type { Owner } from "./KernelLock.js"
import * as PrivateFile from "./PrivateFile.js"
import * as StrictJson from "./StrictJson.js"

const Holding = Schema.Struct({
  /** Random; the name of the holder's own file ends in it. */
  id: Schema.NonEmptyString,
  fence: Schema.NonNegativeInt,
  pid: Schema.Int,
  host: Schema.String,
  boot: Schema.String,
  /** When it was taken or last renewed, by its holder's clock. */
  acquiredAt: Schema.Number,
  expiresAt: Schema.Number,
  /** When waiters first saw it as it is: by their place, on the monotonic clock there. Gone with a renewal. */
  seen: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Number }))
})

export type Holding = typeof Holding.Type

const Record = Schema.Struct({
  format: Schema.Literal(1),
  /** The highest one granted for any account: it outlives the leases. */
  fence: Schema.NonNegativeInt,
  leases: Schema.Record({ key: Schema.String, value: Holding })
})

export type Record = typeof Record.Type

/** As it was read, for the check that it is still so when it is replaced. */
export interface State {
  readonly record: Record
  readonly contents: Option.Option<PrivateFile.Contents>
}

const policy: PrivateFile.Policy = { symlinks: "refuse", owner: "any", maxBytes: 1_048_576 }

const decode = Schema.decodeUnknownOption(Record)

export const read = (path: string): Effect.Effect<State, FileProblem> =>
  Effect.flatMap(PrivateFile.read(path, policy), (contents) =>
    Option.match(contents, {
      onNone: () => Effect.succeed<State>({ record: { format: 1, fence: 0, leases: {} }, contents }),
      onSome: ({ bytes }) =>
        Option.match(Option.flatMap(Either.getRight(StrictJson.parse(bytes)), decode), {
          onNone: () =>
            new FileProblem({
              reason: "Malformed",
              message: `${path} is not a lease record that this version can read. If no other program uses it, delete it.`
            }),
          onSome: (record) => Effect.succeed<State>({ record, contents })
        })
    })
  )

/** Replaces the record; the lock is held. */
export const write = (
  path: string,
  record: Record,
  state: State,
  owner: Option.Option<Owner>
): Effect.Effect<void, FileProblem> => {
  const bytes = Buffer.from(StrictJson.stringify(record))
  // Nobody could read it, nor end a lease in it.
  if (bytes.length > policy.maxBytes) {
    return new FileProblem({
      reason: "Unavailable",
      message:
        `${path} would be larger than the ${policy.maxBytes} bytes allowed. Nothing was written: give ` +
        "accounts shorter names, or hold fewer leases at a time for one file."
    })
  }
  return Effect.filterOrFail(
    PrivateFile.replace({ target: path, beside: path, onlyReplaced: true }, bytes, state.contents, owner),
    (done) => done,
    () =>
      new FileProblem({
        reason: "Unavailable",
        message: `${path} was changed by a program that does not hold its lock: try again.`
      })
  )
}

/** The highest fencing number granted so far, 0 where no lease ever was. */
export const highestFence = (path: string): Effect.Effect<number, FileProblem> =>
  Effect.map(read(path), ({ record }) => record.fence)

/** Names this run of this machine's kernel: only within it can one process see another's locks. */
export const here: { readonly host: string; readonly boot: string } = {
  host: hostname(),
  boot: bootId()
}

/** Where monotonic instants can be compared: one boot of one host. */
export const place = `${here.host}/${here.boot}`

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    // Other systems have none: there a lock that is gone after a restart says the same.
    return ""
  }
}
