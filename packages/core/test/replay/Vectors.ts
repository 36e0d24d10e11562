/**
 * The recorded files to replay: traces, one a line, in a `.jsonl`; maskings in a `.json`. An error names the
 * file, line and field that cannot be read.
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { Problems } from "@latchkey/core/internal-api"
import { parse as readPlaced } from "../../../storage/src/internal/StrictJson.js"

/** A file that holds no vectors; `message` is one line and names the place. */
export class Unreadable extends Data.TaggedError("Unreadable")<{ readonly message: string }> {}

/** What a clock may show, in milliseconds: as far as a date goes. */
const Millis = Schema.Number.pipe(
  Schema.filter((ms) => Math.abs(ms) <= 8.64e15 || "Expected milliseconds, 8.64e15 at most")
)
const Seconds = Schema.Number.pipe(
  Schema.filter((s) => (s >= 0 && s <= 8.64e12) || "Expected seconds, from 0 to 8.64e12")
)
const Count = Schema.Number.pipe(
  Schema.filter((n) => (Number.isSafeInteger(n) && n >= 0) || "Expected a whole number")
)
const NullableString = Schema.NullOr(Schema.String)

export const RecordedCredentials = Schema.Struct({
  accessToken: Schema.String,
  refreshToken: NullableString,
  expiresAtMs: Schema.NullOr(Millis),
  accountId: NullableString
})

const answer = { result: Schema.Unknown, refreshes: Count }
const plain = <const Op extends string>(op: Op) => Schema.Struct({ op: Schema.Literal(op), ...answer })
const written = <const Op extends string>(op: Op) =>
  Schema.Struct({ op: Schema.Literal(op), arg: RecordedCredentials, ...answer })

/** Every kind of step. */
const steps = {
  advance: Schema.Struct({ op: Schema.Literal("advance"), arg: Millis, ...answer }),
  save: written("save"),
  externalWrite: written("externalWrite"),
  externalDelete: plain("externalDelete"),
  clear: plain("clear"),
  clearCache: plain("clearCache"),
  peekAccessToken: plain("peekAccessToken"),
  getAccessToken: plain("getAccessToken"),
  shouldRefresh: Schema.Struct({
    op: Schema.Literal("shouldRefresh"),
    arg: Schema.optional(Schema.NullOr(Schema.Number)),
    ...answer
  }),
  authStatus: plain("authStatus"),
  isAuthenticated: plain("isAuthenticated"),
  validateToken: plain("validateToken"),
  secondsUntilExpiration: plain("secondsUntilExpiration"),
  snapshot: plain("snapshot")
}
export type Step = (typeof steps)[keyof typeof steps]["Type"]

const Recorded = Schema.Struct({
  credentialsTtlSeconds: Seconds,
  refreshGraceSeconds: Seconds,
  startMs: Millis,
  trace: Schema.Array(Schema.Unknown)
})

/** One recorded trace. */
export type Trace = Omit<typeof Recorded.Type, "trace"> & { readonly trace: ReadonlyArray<Step> }

const Masking = Schema.Struct({
  token: NullableString,
  visible: Schema.Number,
  access: NullableString,
  refresh: NullableString,
  access_default: NullableString,
  refresh_default: NullableString,
  has: Schema.Boolean
})

/** One recorded masking. */
export type Masking = typeof Masking.Type

/** The traces of a `.jsonl`, each with its line from 1; blank lines are none. */
export const traces = (
  file: string,
  text: string
): Either.Either<ReadonlyArray<readonly [number, Trace]>, Unreadable> =>
  Either.gen(function* () {
    const found: Array<readonly [number, Trace]> = []
    for (const [index, line] of text
      .replace(/^\uFEFF/, "")
      .split("\n")
      .entries()) {
      const place = `${file}: line ${index + 1}`
      if (line.trim() !== "") found.push([index + 1, yield* trace(place, yield* json(place, line))])
    }
    return found.length > 0 ? found : yield* unreadable(`${file}: holds no trace; there is to be one a line`)
  })

/** The maskings of a `.json`. */
export const maskings = (file: string, text: string): Either.Either<ReadonlyArray<Masking>, Unreadable> =>
  Either.gen(function* () {
    const found = yield* json(file, text.replace(/^\uFEFF/, ""))
    if (!Array.isArray(found) || found.length === 0)
      return yield* unreadable(`${file}: holds no maskings; they are to be a list at the top level`)
    return yield* Either.all(found.map((one, index) => decoded(Masking, `${file}: case ${index + 1}`, one)))
  })

const trace = (place: string, value: unknown): Either.Either<Trace, Unreadable> =>
  Either.gen(function* () {
    const recorded = yield* decoded(Recorded, place, value)
    const found = yield* Either.all(recorded.trace.map((one, index) => step(`${place}: step ${index}`, one)))
    let now = recorded.startMs
    for (const [index, one] of found.entries()) {
      if (one.op !== "advance") continue
      now += one.arg
      if (Math.abs(now) > 8.64e15)
        return yield* unreadable(`${place}: step ${index} (advance): moves the clock beyond all dates`)
    }
    return { ...recorded, trace: found }
  })

const Named = Schema.Struct({ op: Schema.String })

const step = (place: string, value: unknown): Either.Either<Step, Unreadable> =>
  Either.flatMap(decoded(Named, place, value), ({ op }): Either.Either<Step, Unreadable> => {
    const kind = Object.entries(steps).find(([name]) => name === op)?.[1]
    if (kind === undefined) {
      return unreadable(
        `${place}: there is no step called ${JSON.stringify(op.slice(0, 40))}; there are ${Object.keys(steps).join(", ")}`
      )
    }
    return typeof value === "object" && value !== null && !answered(value)
      ? unreadable(`${place} (${op}): result: it is missing`)
      : decoded<Step, unknown>(kind as Schema.Schema<Step, unknown>, `${place} (${op})`, value)
  })

/** An unknown that is not there is none. */
const answered = (value: object): boolean => Object.hasOwn(value, "result")

const unreadable = (message: string) => Either.left(new Unreadable({ message }))

const decoded = <A, I>(
  schema: Schema.Schema<A, I>,
  place: string,
  value: unknown
): Either.Either<A, Unreadable> =>
  Either.mapLeft(Schema.decodeUnknownEither(schema)(value), (issue) => {
    const first = Problems.firstIssue(issue)
    const at = first.path.length === 0 ? "" : `${first.path.join(".")}: `
    const said = first.isMissing ? "it is missing" : first.message
    // An object is expected in the words of its whole type: too long to be read.
    const short =
      said.length > 120 || (first.path.length === 0 && !first.isMissing)
        ? "it is not of the kind that is due here"
        : said
    return new Unreadable({ message: `${place}: ${at}${short.replace(/\s+/g, " ")}` })
  })

/** Parses JSON, or says why it is none. For a text of many lines, it names the faulty one. */
const json = (place: string, text: string): Either.Either<unknown, Unreadable> =>
  Either.try({
    try: (): unknown => JSON.parse(text),
    catch: (error) => {
      if (text.trim() === "") return new Unreadable({ message: `${place}: is empty` })
      const said = error instanceof Error ? error.message.replace(/\s+/g, " ").slice(0, 120) : ""
      const line = text.trim().includes("\n") ? lineAtFault(text) : ""
      return new Unreadable({ message: `${place}${line}: is no JSON: ${said}` })
    }
  })

/** Node does not always say where it stumbled; the reader of credential files does. */
const lineAtFault = (text: string): string => {
  const read = readPlaced(new TextEncoder().encode(`{"all":${text}}`))
  const line = Either.isLeft(read) ? /at (line \d+)/.exec(read.left)?.[1] : undefined
  return line === undefined ? "" : `: ${line}`
}
