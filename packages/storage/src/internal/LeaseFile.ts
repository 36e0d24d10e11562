/** The record of the holders of one file's leases, and of the last fencing number that was granted. */
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
  /** Random. The name of the holder's own file ends with it. */
  id: Schema.NonEmptyString,
  fence: Schema.NonNegativeInt,
  pid: Schema.Int,
  host: Schema.String,
  boot: Schema.String,
  /** When it was taken or last renewed, by its holder's clock. */
  acquiredAt: Schema.Number,
  expiresAt: Schema.Number,
  /**
   * When waiters first saw it in its present state: by their place, on the monotonic clock there. A renewal
   * removes it.
   */
  seen: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Number }))
})

export type Holding = typeof Holding.Type

const Record = Schema.Struct({
  format: Schema.Literal(1),
  /** The highest fence granted for any account. It outlives the leases. */
  fence: Schema.NonNegativeInt,
  leases: Schema.Record({ key: Schema.String, value: Holding })
})

export type Record = typeof Record.Type

/** The bytes that were read, to check before a replacement that they have not changed. */
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

/** Replaces the record. The caller holds the lock. */
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

/** Returns the highest fencing number granted so far, 0 if no lease was ever granted. */
export const highestFence = (path: string): Effect.Effect<number, FileProblem> =>
  Effect.map(read(path), ({ record }) => record.fence)

/** Names this run of this machine's kernel. Only within it can one process see another's locks. */
export const here: { readonly host: string; readonly boot: string } = {
  host: hostname(),
  boot: bootId()
}

/** The scope in which monotonic instants can be compared: one boot of one host. */
export const place = `${here.host}/${here.boot}`

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    // Other systems have none. There, a lock that is gone after a restart proves the same.
    return ""
  }
}
