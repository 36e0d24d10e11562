/**
 * Converts an entry to one JSON text in Latchkey's own form, and back. A text that would not read back is
 * never written.
 */
import type * as Entry from "@latchkey/core/Entry"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import * as FileFormat from "../FileFormat.js"
import * as StrictJson from "./StrictJson.js"

/** The problem with a text or an entry, in words that name the place and hold no value. */
export class RecordProblem extends Data.TaggedError("RecordProblem")<{
  readonly reason: StorageError["reason"]
  readonly problem: string
  /** The document with the problem, if that is sound JSON. */
  readonly document?: FileFormat.JsonObject
}> {}

/** A record that was read: the entry, and the whole document with foreign fields. */
export interface Record {
  readonly document: FileFormat.JsonObject
  readonly entry: Entry.Entry
}

/** A document that was read: the entry in it, if it holds one. */
export interface Document {
  readonly document: FileFormat.JsonObject
  readonly entry: Option.Option<Entry.Entry>
}

/**
 * Decodes the document in a text, and its entry by `format`. `now` decides whether its instants can be right.
 */
export const decodeAs = (
  format: FileFormat.FileFormat,
  text: string,
  now: number
): Either.Either<Document, RecordProblem> =>
  Either.gen(function* () {
    const document = yield* Either.mapLeft(StrictJson.parse(encoder.encode(text)), malformed)
    const entry = yield* Either.mapLeft(
      format.decode(document, now),
      (p) => new RecordProblem({ reason: p.reason, problem: `, in ${p.path}, ${p.problem}`, document })
    )
    return { document, entry }
  })

/** Decodes the record in a text. `now` decides whether its instants can be right. */
export const decode = (text: string, now: number): Either.Either<Record, RecordProblem> =>
  Either.flatMap(decodeAs(FileFormat.native, text, now), ({ document, entry }) =>
    Option.match(entry, {
      onNone: () => Either.left(malformed("holds no grant")),
      onSome: (found) => Either.right({ document, entry: found })
    })
  )

/** Encodes an entry, together with the foreign fields of `document`. No two results are ever equal. */
export const encodeAs = (
  format: FileFormat.FileFormat,
  document: FileFormat.JsonObject,
  entry: Entry.Entry,
  now: number,
  previous: Option.Option<Entry.Entry> = Option.none()
): Either.Either<string, RecordProblem> =>
  Either.gen(function* () {
    const refusal = FileFormat.refusal(format, document, entry, previous)
    if (Option.isSome(refusal)) {
      const { path, problem, reason } = refusal.value
      return yield* Either.left(new RecordProblem({ reason, problem: ` is not written: ${path} ${problem}` }))
    }
    const text = yield* Either.try({
      try: () => write(format.encode(document, entry, randomBytes(8).toString("hex"), previous)),
      // The encoder's own error may quote the value that it could not encode.
      catch: () => malformed("has a value that JSON cannot hold, or a blank token")
    })
    yield* decodeAs(format, text, now)
    return text
  })

/** The same in Latchkey's own form. */
export const encode = (
  document: FileFormat.JsonObject,
  entry: Entry.Entry,
  now: number
): Either.Either<string, RecordProblem> => encodeAs(FileFormat.native, document, entry, now)

/** Returns the text of a document, unchanged. */
export const write = (document: FileFormat.JsonObject): string => StrictJson.stringify(document, onOneLine)

/** Some keychains have little room. */
const onOneLine = "{}"

const encoder = new TextEncoder()

const malformed = (problem: string): RecordProblem =>
  new RecordProblem({ reason: "Malformed", problem: ` ${problem}` })
