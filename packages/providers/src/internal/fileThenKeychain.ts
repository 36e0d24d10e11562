/**
 * One grant that is in a file or, where the file has none, in the keychain. It is written back to where it was
 * found; a new one goes into the keychain, as its own program does it. What cannot be read is an error, not an
 * absence: another grant is never taken in its place.
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

export const make = (file: Storage, keychain: Storage): Storage => {
  const location = `${file.location}, or ${keychain.location}`
  const found = (place: Place) =>
    Option.map(({ entry, version }: Versioned): Versioned => ({
      entry,
      version: `${place}:${version}` as Version
    }))
  const load = Effect.flatMap(file.load, (held) =>
    Option.isSome(held)
      ? Effect.succeed(found("file")(held))
      : Effect.mapBoth(keychain.load, { onSuccess: found("keychain"), onFailure: withFile(file.location) })
  )
  return TokenStorage.of({
    location,
    load,
    commit: (entry, expected) =>
      Effect.gen(function* () {
        const current = Option.map(yield* roomFor(load), ({ version }) => version)
        if (Option.getOrUndefined(current) !== Option.getOrUndefined(expected)) {
          return yield* new CommitRefused({ reason: "Conflict", location })
        }
        const [place, version] = Option.match(expected, {
          onNone: () => ["keychain", Option.none()] as const,
          onSome: (v) => [placeOf(v), Option.some(v.slice(v.indexOf(":") + 1) as Version)] as const
        })
        const storage = place === "file" ? file : keychain
        return `${place}:${yield* storage.commit(entry, version)}` as Version
      }),
    // Both, and as far as it goes: a logout leaves no token behind.
    remove: Effect.gen(function* () {
      const results = yield* Effect.all([Effect.either(file.remove), Effect.either(keychain.remove)])
      const existed = yield* Either.all(results)
      return existed.includes(true)
    }),
    changes: file.changes
  })
}

const placeOf = (version: Version): Place => (version.startsWith("file:") ? "file" : "keychain")

/** What holds something else than a grant has room for one. */
const roomFor = (load: Storage["load"]): Storage["load"] =>
  Effect.catchIf(
    load,
    (error) => error.reason === "NoGrant",
    () => Effect.succeedNone
  )

const withFile =
  (path: string) =>
  (error: StorageError): StorageError =>
    new StorageError({
      reason: error.reason,
      operation: error.operation,
      location: error.location,
      message: `There are no credentials at ${path}, and the keychain was looked into: ${error.message}`,
      ...(error.cause !== undefined && { cause: error.cause })
    })
