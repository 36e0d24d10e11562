/** The records of a database or a server: bytes from elsewhere, with a size limit. */
import type * as Entry from "@latchkey/core/Entry"
import * as Either from "effect/Either"
import * as Record from "./Record.js"
import { ServerProblem } from "./ServerProblem.js"

/** The longest record that is read or written, in bytes. */
export const maxBytes = 1_048_576

/** Decodes the record in these bytes. `where` names its place, for messages. */
export const decode = (
  bytes: Uint8Array,
  where: string,
  now: number
): Either.Either<Record.Record, ServerProblem> =>
  Either.try({
    try: () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
    catch: () => malformed(where, " is not UTF-8")
  }).pipe(
    Either.flatMap((text) =>
      Either.mapLeft(Record.decode(text, now), ({ reason, problem }) =>
        reason === "NewerFormat"
          ? new ServerProblem({ reason, message: `The record of ${where}${problem}.` })
          : malformed(where, problem, reason)
      )
    )
  )

export const tooLarge = (where: string): ServerProblem =>
  malformed(where, ` is larger than the ${maxBytes} bytes allowed`)

const malformed = (
  where: string,
  problem: string,
  reason: ServerProblem["reason"] = "Malformed"
): ServerProblem =>
  new ServerProblem({
    reason,
    message: `The record of ${where}${problem}. It was left as it is: repair it, or remove it and log in again.`
  })

/**
 * Encodes an entry, together with the foreign fields of `document`. Refuses an entry that would not read
 * back.
 */
export const encode = (
  document: Record.Record["document"],
  entry: Entry.Entry,
  where: string,
  now: number
): Either.Either<string, ServerProblem> =>
  Either.filterOrLeft(
    Either.mapLeft(Record.encode(document, entry, now), ({ reason, problem }) =>
      unwritable(where, problem, reason)
    ),
    (text) => Buffer.byteLength(text) <= maxBytes,
    () => unwritable(where, ` is larger than the ${maxBytes} bytes allowed`)
  )

const unwritable = (
  where: string,
  problem: string,
  reason: ServerProblem["reason"] = "Malformed"
): ServerProblem =>
  new ServerProblem({ reason, message: `The entry for ${where}${problem}. Nothing was written.` })
