/** An entry as one JSON text, for backends that keep a text under a name. */
import * as Entry from "@latchkey/core/Entry"
import * as Either from "effect/Either"
import { ServerProblem } from "./ServerProblem.js"
import * as StrictJson from "./StrictJson.js"

/** The longest text that is read or written, in bytes. */
export const maxBytes = 1_048_576

const advice = {
  Malformed: " It was left as it is: repair it, or remove it and log in again.",
  WrongUnit: " It was left as it is: repair it, or remove it and log in again.",
  NewerFormat: ""
}

/** The entry in a text. `where` names its place, for the message. */
export const decode = (
  text: Uint8Array,
  where: string,
  now: number
): Either.Either<Entry.Entry, ServerProblem> =>
  Either.flatMap(
    Either.mapLeft(StrictJson.parse(text), (problem) => malformed(where, problem)),
    (json) =>
      Either.mapLeft(
        Entry.fromJson(json, now),
        ({ reason, path, problem }) =>
          new ServerProblem({
            reason,
            message: `In the record of ${where}, ${path} ${problem}.${advice[reason]}`
          })
      )
  )

export const tooLarge = (where: string): ServerProblem =>
  malformed(where, `is larger than the ${maxBytes} bytes allowed`)

const malformed = (where: string, problem: string): ServerProblem =>
  new ServerProblem({
    reason: "Malformed",
    message: `The record of ${where} ${problem}.${advice.Malformed}`
  })

/** The text of an entry, known to read back: what would not is refused before anything is written. */
export const encode = (
  entry: Entry.Entry,
  where: string,
  now: number
): Either.Either<string, ServerProblem> => {
  const text = Either.try({
    // Any text that is not laid out in lines makes it compact.
    try: () => StrictJson.stringify(Entry.toJson(entry), "{}").trimEnd(),
    // The encoder's own error may quote what it could not encode.
    catch: () => unreadable(where, "Malformed", "it has a value that JSON cannot hold, or a blank token")
  })
  return Either.flatMap(text, (written) => {
    const bytes = new TextEncoder().encode(written)
    if (bytes.length > maxBytes) return Either.left(unreadable(where, "Malformed", "it is too large"))
    const json = Either.mapLeft(StrictJson.parse(bytes), (p) => unreadable(where, "Malformed", `it ${p}`))
    const read = Either.flatMap(json, (value) =>
      Either.mapLeft(Entry.fromJson(value, now), (p) => unreadable(where, p.reason, `${p.path} ${p.problem}`))
    )
    return Either.map(read, () => written)
  })
}

const unreadable = (where: string, reason: ServerProblem["reason"], problem: string): ServerProblem =>
  new ServerProblem({
    reason,
    message: `The entry for ${where} could not be read back: ${problem}. Nothing was written.`
  })
