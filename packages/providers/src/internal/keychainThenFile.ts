/**
 * One grant that is in the keychain or in a file, in the order of the program that owns both: the keychain
 * first. A file beside a live item holds an earlier grant, whose refresh token is spent, so it is not read. A
 * grant is written back to where it was found. A new one goes into the keychain.
 */
import {
  CommitRefused,
  StorageError,
  TokenStorage,
  type Version,
  type Versioned
} from "@latchkey/core/TokenStorage"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

type Storage = Context.Tag.Service<TokenStorage>
type Place = "file" | "keychain"

/**
 * When the file is read: `never`, `absent` (the keychain has no such item) or `unreadable` (also if the
 * keychain cannot be read).
 */
export type FallBack = "never" | "absent" | "unreadable"

export interface Options {
  readonly keychain: Storage
  /** Whether the keychain has the item, whatever is in it. */
  readonly exists: Effect.Effect<boolean, StorageError>
  readonly file: Storage
  readonly fallBack: FallBack
  /** Whether the owner removes the file once the keychain holds the grant. */
  readonly removesFile: boolean
}

export const make = ({ exists, fallBack, file, keychain, removesFile }: Options): Storage => {
  const location = fallBack === "never" ? keychain.location : `${keychain.location}, or ${file.location}`
  const found = (place: Place) =>
    Option.map(({ entry, version }: Versioned): Versioned => ({
      entry,
      version: `${place}:${version}` as Version
    }))
  const inFile = Effect.map(file.load, found("file"))
  const load = Effect.matchEffect(keychain.load, {
    onFailure: (error) =>
      fallBack === "unreadable" && isOutOfReach(error)
        ? inFile
        : Effect.fail(fallBack === "absent" && isOutOfReach(error) ? withFile(error, file.location) : error),
    onSuccess: (held) =>
      Option.isSome(held) || fallBack === "never"
        ? Effect.succeed(found("keychain")(held))
        : // An item without a grant means that the owner has nobody logged in.
          Effect.flatMap(exists, (isThere) => (isThere ? Effect.succeedNone : inFile))
  })
  const commitTo = (place: Place, ...given: Parameters<Storage["commit"]>) =>
    Effect.map(
      (place === "file" ? file : keychain).commit(...given),
      (version) => `${place}:${version}` as Version
    )
  const toKeychain = (...given: Parameters<Storage["commit"]>) =>
    Effect.tap(commitTo("keychain", ...given), () => (removesFile ? Effect.ignore(file.remove) : Effect.void))
  return TokenStorage.of({
    location,
    load,
    commit: (entry, expected) =>
      Effect.gen(function* () {
        const current = Option.map(yield* roomFor(load), ({ version }) => version)
        if (Option.getOrUndefined(current) !== Option.getOrUndefined(expected)) {
          return yield* new CommitRefused({ reason: "Conflict", location })
        }
        if (Option.isSome(expected)) {
          const version = Option.some(expected.value.slice(expected.value.indexOf(":") + 1) as Version)
          return yield* placeOf(expected.value) === "file"
            ? commitTo("file", entry, version)
            : toKeychain(entry, version)
        }
        return yield* Effect.catchIf(
          toKeychain(entry, Option.none()),
          (error) => fallBack === "unreadable" && error._tag === "StorageError" && isOutOfReach(error),
          () => commitTo("file", entry, Option.none())
        )
      }),
    // Removes both, as far as possible: a logout leaves no token behind.
    remove: Effect.gen(function* () {
      const fromKeychain =
        fallBack === "unreadable"
          ? Effect.catchIf(keychain.remove, isOutOfReach, () => Effect.succeed(false))
          : keychain.remove
      const results = yield* Effect.all([Effect.either(fromKeychain), Effect.either(file.remove)])
      const existed = yield* Either.all(results)
      return existed.includes(true)
    }),
    changes: fallBack === "never" ? Option.none() : file.changes
  })
}

const placeOf = (version: Version): Place => (version.startsWith("file:") ? "file" : "keychain")

/** There is no keychain, or it is locked. Its contents are unknown. */
const isOutOfReach = ({ reason }: StorageError): boolean => reason === "Unavailable" || reason === "Denied"

/** A place that holds something other than a grant has room for one. */
const roomFor = (load: Storage["load"]): Storage["load"] =>
  Effect.catchIf(
    load,
    (error) => error.reason === "NoGrant",
    () => Effect.succeedNone
  )

const withFile = (error: StorageError, path: string): StorageError =>
  new StorageError({
    reason: error.reason,
    operation: error.operation,
    location: error.location,
    message: `${error.message} The file ${path} is not read instead, because it may hold a spent grant; to use only the file, set credentials.keychain to false.`,
    ...(error.cause !== undefined && { cause: error.cause })
  })
