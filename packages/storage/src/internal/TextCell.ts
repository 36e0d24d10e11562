/** Compare-and-set over one text that is read and written as a whole. */
import type {
  CommitRefused as Refusal,
  StorageError as Failure,
  TokenStorage,
  Version
} from "@latchkey/core/TokenStorage"
import { CommitRefused, StorageError } from "@latchkey/core/TokenStorage"
import * as Entry from "@latchkey/core/Entry"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"
import type { FileFormat } from "../FileFormat.js"
import * as Record from "./Record.js"

/** A problem with a cell, before it is known which operation it belongs to. */
export interface Problem {
  readonly reason: Failure["reason"]
  readonly message: string
  readonly cause?: unknown
}

/** Where the text is stored. */
export interface Cell {
  readonly location: string
  /** How the text holds the entry. */
  readonly format: FileFormat
  /** The longest text that it accepts, and that can be a record. */
  readonly maxBytes: number
  /** Appended to the message if a text is too long to write. */
  readonly tooLongAdvice: string
  readonly get: Effect.Effect<Option.Option<string>, Problem>
  readonly set: (text: string) => Effect.Effect<void, Problem>
  readonly remove: Effect.Effect<void, Problem>
  /** The highest fence of the leases granted for it, 0 if it knows of none. */
  readonly grantedFence: Effect.Effect<number, Problem>
  /** Runs exclusively among all users of the cell that do so. */
  readonly alone: <A, E>(use: Effect.Effect<A, E>) => Effect.Effect<A, E | Problem>
  /** Runs a read, not while a text is half written. */
  readonly looking: <A, E>(use: Effect.Effect<A, E>) => Effect.Effect<A, E | Problem>
}

interface Held extends Record.Document {
  readonly version: Version
}

/** A text that is sound but holds no grant is a problem for reads, and free room for writes. */
type WithoutGrant = "problem" | "room"

export const make = (cell: Cell): Context.Tag.Service<TokenStorage> => {
  const { location } = cell
  const failed =
    (operation: Failure["operation"]) =>
    ({ reason, message, cause }: Problem): Failure =>
      new StorageError({ reason, operation, location, message, ...(cause === undefined ? {} : { cause }) })
  return {
    location,
    load: cell
      .looking(read(cell))
      .pipe(
        Effect.map(
          Option.flatMap(({ entry, version }) => Option.map(entry, (found) => ({ entry: found, version })))
        ),
        Effect.mapError(failed("load"))
      ),
    commit: (entry, expected) =>
      Effect.mapError(cell.alone(commit(cell, entry, expected)), (error) =>
        error instanceof CommitRefused ? error : failed("commit")(error)
      ),
    remove: cell
      .alone(
        Effect.flatMap(read(cell, "room"), (held) =>
          Option.match(
            Option.filter(held, ({ entry }) => Option.isSome(entry)),
            {
              onNone: () => Effect.succeed(false),
              onSome: ({ document }) =>
                Effect.as(
                  Option.match(cell.format.clear(document), {
                    onNone: () => cell.remove,
                    onSome: (left) => cell.set(Record.write(left))
                  }),
                  true
                )
            }
          )
        )
      )
      .pipe(Effect.mapError(failed("remove"))),
    changes: Option.none()
  }
}

/** Returns the fence of what the cell holds, 0 if it cannot be determined. */
export const writtenFence = (cell: Cell): Effect.Effect<number> =>
  cell.looking(read(cell)).pipe(
    Effect.map(Option.match({ onNone: () => 0, onSome: fenceOf })),
    Effect.orElseSucceed(() => 0)
  )

const fenceOf = ({ entry }: Held): number =>
  Option.match(entry, { onNone: () => 0, onSome: ({ fence }) => fence })

const read = (
  cell: Cell,
  withoutGrant: WithoutGrant = "problem"
): Effect.Effect<Option.Option<Held>, Problem> =>
  Effect.gen(function* () {
    const text = yield* cell.get
    if (Option.isNone(text)) return Option.none()
    const now = yield* Clock.currentTimeMillis
    const record =
      Buffer.byteLength(text.value) > cell.maxBytes
        ? Either.left(
            new Record.RecordProblem({
              reason: "Malformed",
              problem: ` is longer than the ${cell.maxBytes} bytes allowed`
            })
          )
        : Record.decodeAs(cell.format, text.value, now)
    const { document, entry } = yield* record.pipe(
      Either.orElse((p) =>
        p.reason === "NoGrant" && p.document !== undefined && withoutGrant === "room"
          ? Either.right({ document: p.document, entry: Option.none() })
          : Either.left(p)
      ),
      Either.mapLeft(({ reason, problem }) => ({
        reason,
        message:
          `The record at ${cell.location}${problem}.` +
          (reason === "NewerFormat" || reason === "NoGrant"
            ? ""
            : " It was left as it is: repair it, or remove it and log in again.")
      }))
    )
    return Option.some({ document, entry, version: versionOf(text.value) })
  })

const versionOf = (text: string): Version => createHash("sha256").update(text).digest("hex") as Version

const commit = (
  cell: Cell,
  entry: Entry.Entry,
  expected: Option.Option<Version>
): Effect.Effect<Version, Problem | Refusal> =>
  Effect.gen(function* () {
    const refused = (reason: Refusal["reason"]) => new CommitRefused({ reason, location: cell.location })
    const current = yield* read(cell, "room")
    const version = Option.map(
      Option.filter(current, ({ entry: held }) => Option.isSome(held)),
      (held) => held.version
    )
    if (Option.getOrUndefined(version) !== Option.getOrUndefined(expected)) return yield* refused("Conflict")

    const written = Option.match(current, { onNone: () => 0, onSome: fenceOf })
    const seen = Math.max(written, yield* cell.grantedFence)
    if (!Entry.passesFence(entry, seen)) return yield* refused("Fenced")

    const document = Option.match(current, { onNone: () => ({}), onSome: (held) => held.document })
    const now = yield* Clock.currentTimeMillis
    const text = yield* Either.mapLeft(
      Record.encodeAs(
        cell.format,
        document,
        Entry.keepFence(entry, seen),
        now,
        Option.flatMap(current, ({ entry: held }) => held)
      ),
      ({ reason, problem }) => ({
        reason,
        message: `The entry for ${cell.location}${problem}. Nothing was written.`
      })
    )
    const bytes = Buffer.byteLength(text)
    if (bytes > cell.maxBytes) {
      return yield* Effect.fail<Problem>({
        reason: "Denied",
        message: `The record for ${cell.location} has ${bytes} bytes; ${cell.maxBytes} are allowed. ${cell.tooLongAdvice}`
      })
    }
    yield* cell.set(text)
    return versionOf(text)
  })
