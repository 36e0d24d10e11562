/** The storage of one file: loads without a lock, writes under it. */
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
import { createHash, randomBytes } from "node:crypto"
import * as FileFormat from "../FileFormat.js"
import { changes } from "./FileChanges.js"
import { highestFence } from "./LeaseFile.js"
import { FileProblem } from "./FileProblem.js"
import { type Owner, pause, withLock } from "./KernelLock.js"
import * as PrivateFile from "./PrivateFile.js"
import * as StrictJson from "./StrictJson.js"

/** The options of a file store, each with a value. */
export interface Settings extends PrivateFile.Policy {
  readonly path: string
  readonly format: FileFormat.FileFormat
  readonly backups: number
  readonly lockMillis: number
}

interface State {
  readonly document: FileFormat.JsonObject
  readonly text: string
  readonly contents: Option.Option<PrivateFile.Contents>
  readonly version: Version
  readonly entry: Option.Option<Entry.Entry>
}

export const make = (settings: Settings): Context.Tag.Service<TokenStorage> => {
  const { path } = settings
  const failed =
    (operation: Failure["operation"]) =>
    (problem: FileProblem): Failure =>
      new StorageError({
        reason: problem.reason,
        operation,
        location: path,
        message: problem.message,
        ...(problem.cause === undefined ? {} : { cause: problem.cause })
      })
  let warned = false
  /** Once per storage, because it is read repeatedly. */
  const warn = ({ contents }: State) => {
    const exposure = Option.flatMap(contents, (found) => found.exposure)
    if (Option.isNone(exposure) || warned) return Effect.void
    warned = true
    return Effect.logWarning(`Accepted because the options allow it: ${exposure.value}`)
  }
  return {
    location: path,
    load: PrivateFile.resolve(path, settings.symlinks).pipe(
      Effect.flatMap((target) => read(target, settings)),
      Effect.tap(warn),
      Effect.map(({ entry, version }) => Option.map(entry, (found) => ({ entry: found, version }))),
      Effect.mapError(failed("load"))
    ),
    commit: (entry, expected) =>
      locked(settings, (place, owner) => commit(place, owner, settings, entry, expected)).pipe(
        Effect.catchTag("FileProblem", (problem) => Effect.fail(failed("commit")(problem)))
      ),
    remove: Effect.mapError(remove(settings), failed("remove")),
    changes: Option.some(changes(settings, failed("changes")))
  }
}

/** Runs `use` on the file behind the path, while no other process that respects the lock writes there. */
export const locked = <A, E>(
  settings: Pick<Settings, "path" | "symlinks" | "owner" | "lockMillis">,
  use: (place: PrivateFile.Place, owner: Option.Option<Owner>) => Effect.Effect<A, E>
): Effect.Effect<A, E | FileProblem> =>
  Effect.gen(function* () {
    const target = yield* PrivateFile.resolve(settings.path, settings.symlinks)
    const owner = yield* PrivateFile.check(target, settings.owner)
    yield* PrivateFile.makeDirectory(target)
    const place = yield* PrivateFile.placeOf(target)
    return yield* withLock(PrivateFile.lockOf(place.beside), settings.lockMillis, owner, use(place, owner))
  })

/** Returns the fence of what the file holds, 0 if it cannot be determined. */
export const writtenFence =
  (settings: Settings) =>
  (target: string): Effect.Effect<number> =>
    readOnce(target, settings).pipe(
      Effect.map(({ entry }) => Option.match(entry, { onNone: () => 0, onSome: (e) => e.fence })),
      Effect.orElseSucceed(() => 0)
    )

/**
 * A program that writes in place leaves the file half-written for a moment. A file that does not parse is
 * read once more after this time, in milliseconds.
 */
const settleMillis = 30

/** A document that is sound but holds no grant is a problem for reads, and free room for writes. */
type WithoutGrant = "problem" | "room"

const read = (
  target: string,
  settings: Settings,
  withoutGrant: WithoutGrant = "problem"
): Effect.Effect<State, FileProblem> =>
  Effect.catchIf(
    readOnce(target, settings, withoutGrant),
    (problem) => problem.reason === "Malformed",
    () =>
      Effect.catchIf(
        Effect.andThen(pause(settleMillis), readOnce(target, settings, withoutGrant)),
        (problem) => problem.reason === "Malformed",
        (problem) => Effect.catchAll(readJournal(target, settings, withoutGrant), () => Effect.fail(problem))
      )
  )

/**
 * A write in place first stores the whole contents beside the file, so a torn file can be read from there.
 */
const readJournal = (
  target: string,
  settings: Settings,
  withoutGrant: WithoutGrant
): Effect.Effect<State, FileProblem> =>
  Effect.gen(function* () {
    const { beside } = yield* PrivateFile.placeOf(target)
    const torn = yield* PrivateFile.read(target, settings)
    const journal = yield* readOnce(PrivateFile.journalOf(beside), settings, withoutGrant)
    if (Option.isNone(journal.contents)) return yield* malformed(target, "is damaged")
    return { ...journal, contents: torn }
  })

const readOnce = (
  target: string,
  settings: Settings,
  withoutGrant: WithoutGrant = "problem"
): Effect.Effect<State, FileProblem> =>
  Effect.gen(function* () {
    const contents = yield* PrivateFile.read(target, settings)
    if (Option.isNone(contents)) {
      return { document: {}, text: "", contents, version: versionOf(new Uint8Array()), entry: Option.none() }
    }
    const { bytes } = contents.value
    const document = yield* Either.mapLeft(StrictJson.parse(bytes), (problem) => malformed(target, problem))
    // What is left of a file that could not be removed, and what you can put in a file before you mount it.
    if (Object.keys(document).length === 0) {
      return { document, text: textOf(bytes), contents, version: versionOf(bytes), entry: Option.none() }
    }
    const now = yield* Clock.currentTimeMillis
    const entry = yield* settings.format.decode(document, now).pipe(
      Either.orElse((p) =>
        p.reason === "NoGrant" && withoutGrant === "room"
          ? Either.right(Option.none())
          : Either.left(
              new FileProblem({
                reason: p.reason,
                message: `In ${target}, ${p.path} ${p.problem}.${advice[p.reason]}`
              })
            )
      )
    )
    return { document, text: textOf(bytes), contents, version: versionOf(bytes), entry }
  })

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

const keptAsItIs = " It was left as it is: repair it, or move it away and log in again."

const advice = {
  Malformed: keptAsItIs,
  WrongUnit: keptAsItIs,
  NewerFormat: "",
  Incomplete: "",
  Denied: "",
  NoGrant: " Log in to put a grant there, or give the path of another file."
}

const malformed = (target: string, problem: string): FileProblem =>
  new FileProblem({ reason: "Malformed", message: `${target} ${problem}.${keptAsItIs}` })

const versionOf = (bytes: Uint8Array): Version => createHash("sha256").update(bytes).digest("hex") as Version

const refused = (reason: Refusal["reason"], settings: Settings): Refusal =>
  new CommitRefused({ reason, location: settings.path })

const commit = (
  place: PrivateFile.Place,
  owner: Option.Option<Owner>,
  settings: Settings,
  entry: Entry.Entry,
  expected: Option.Option<Version>
): Effect.Effect<Version, FileProblem | Refusal> =>
  Effect.gen(function* () {
    const { beside, target } = place
    yield* PrivateFile.sweep(beside)
    const current = yield* read(target, settings, "room")
    const version = Option.isSome(current.entry) ? current.version : undefined
    if (version !== Option.getOrUndefined(expected)) return yield* refused("Conflict", settings)

    const granted = yield* highestFence(PrivateFile.leaseOf(beside))
    const seen = Math.max(granted, Option.match(current.entry, { onNone: () => 0, onSome: (e) => e.fence }))
    if (!Entry.passesFence(entry, seen)) return yield* refused("Fenced", settings)

    const bytes = yield* encode(target, settings, current, Entry.keepFence(entry, seen))
    const replaced = yield* PrivateFile.replace(place, bytes, current.contents, owner, settings.backups)
    if (!replaced) return yield* refused("Conflict", settings)
    yield* PrivateFile.dropJournal(beside)
    return versionOf(bytes)
  })

/**
 * Returns the bytes to write, checked to read back. A document that would not is refused before the old file
 * is touched.
 */
const encode = (
  target: string,
  settings: Settings,
  current: State,
  entry: Entry.Entry
): Effect.Effect<Uint8Array, FileProblem> =>
  Effect.gen(function* () {
    const refusal = FileFormat.refusal(settings.format, current.document, entry, current.entry)
    if (Option.isSome(refusal)) {
      const { path, problem, reason } = refusal.value
      return yield* new FileProblem({
        reason,
        message: `The grant was not written to ${target}: ${path} ${problem}. The file was left as it is.`
      })
    }
    const bytes = yield* Effect.try({
      try: () => {
        const revision = randomBytes(8).toString("hex")
        const document = settings.format.encode(current.document, entry, revision, current.entry)
        return Buffer.from(StrictJson.stringify(document, current.text))
      },
      // The encoder's own error may quote the value that it could not encode.
      catch: () => unreadable(target, "Malformed", "it has a value that JSON cannot hold, or a blank token")
    })
    if (bytes.length > settings.maxBytes) return yield* PrivateFile.tooLarge(target, settings.maxBytes)
    const now = yield* Clock.currentTimeMillis
    const document = yield* Either.mapLeft(StrictJson.parse(bytes), (p) =>
      unreadable(target, "Malformed", `it ${p}`)
    )
    yield* Either.mapLeft(settings.format.decode(document, now), (p) =>
      unreadable(target, p.reason, `${p.path} ${p.problem}`)
    )
    return bytes
  })

const unreadable = (target: string, reason: FileProblem["reason"], problem: string): FileProblem =>
  new FileProblem({
    reason,
    message: `The record for ${target} could not be read back: ${problem}. Nothing was written.`
  })

const remove = (settings: Settings): Effect.Effect<boolean, FileProblem> =>
  Effect.gen(function* () {
    const target = yield* PrivateFile.resolve(settings.path, settings.symlinks)
    if (!(yield* PrivateFile.directoryExists(target))) return false
    return yield* locked(settings, (place, owner) => removeLocked(place, owner, settings))
  })

const removeLocked = (
  place: PrivateFile.Place,
  owner: Option.Option<Owner>,
  settings: Settings
): Effect.Effect<boolean, FileProblem> =>
  Effect.gen(function* () {
    const { beside, target } = place
    yield* PrivateFile.sweep(beside)
    const current = yield* read(target, settings, "room")
    if (Option.isSome(current.entry)) {
      const left = settings.format.clear(current.document)
      const done = Option.isNone(left)
        ? yield* PrivateFile.remove(place, current.contents, owner)
        : yield* PrivateFile.replace(
            place,
            Buffer.from(StrictJson.stringify(left.value, current.text)),
            current.contents,
            owner
          )
      if (!done) {
        return yield* new FileProblem({
          reason: "Unavailable",
          message: `${target} was changed by another program at the same moment: try again.`
        })
      }
    }
    yield* PrivateFile.removeKept(beside)
    return Option.isSome(current.entry)
  })
