/**
 * The profile that a provider's own program keeps in a file: Claude's `.account.json`, the API's response
 * unchanged. It is not secret, and may be out of date.
 *
 * @since 0.1.0
 */
import * as PrivateDirectory from "@latchkey/storage/PrivateDirectory"
import { type Profile, ProfileError } from "@latchkey/core/Profile"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Directory from "./internal/directory.js"
import { isObject } from "./internal/json.js"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import type { Provider } from "./Provider.js"
import { fromDocument } from "./Profiles.js"

const ifAny = <A, B, E>(
  value: Option.Option<A>,
  use: (value: A) => Effect.Effect<B, E>
): Effect.Effect<Option.Option<B>, E> =>
  Option.match(value, { onNone: () => Effect.succeedNone, onSome: (a) => Effect.asSome(use(a)) })

const pathOf = (provider: Provider): Effect.Effect<Option.Option<string>, ConfigError.ConfigError> =>
  Effect.flatMap(Directory.of(provider), (directory) =>
    ifAny(Option.fromNullable(provider.profile.file), (file) =>
      Effect.suspend(() => Directory.pathIn(provider, directory, file))
    )
  )

/**
 * Returns the profile in the file. None if there is no such file, or the provider has none. A file that is
 * not a profile fails with `Malformed` and stays unchanged.
 *
 * @since 0.1.0
 * @category operations
 */
export const load = (
  provider: Provider
): Effect.Effect<Option.Option<Profile>, ProfileError | ConfigError.ConfigError> =>
  Effect.flatMap(pathOf(provider), (path) =>
    ifAny(path, (path) =>
      Effect.flatMap(read(path), (text) =>
        ifAny(text, (found) => Effect.map(parse(path, found), (document) => fromDocument(provider, document)))
      )
    )
  ).pipe(Effect.map(Option.flatten))

/**
 * Stores the provider's response with mode 0600, and replaces the old one. Does nothing if the provider
 * has no such file.
 *
 * @since 0.1.0
 * @category operations
 */
export const save = (
  provider: Provider,
  profile: Profile
): Effect.Effect<void, ProfileError | ConfigError.ConfigError> =>
  Effect.flatMap(
    pathOf(provider),
    Option.match({
      onNone: () => Effect.void,
      onSome: (path) =>
        Effect.tryPromise({
          try: () => replace(path, `${JSON.stringify(profile.extras, null, 2)}\n`),
          catch: () => unavailable(path, "written")
        })
    })
  )

/** A reader finds the old file or the new one, never half of it. */
const replace = async (path: string, text: string): Promise<void> => {
  const beside = `${path}.${randomBytes(6).toString("hex")}.tmp`
  await PrivateDirectory.make(Path.dirname(path))
  try {
    await fs.writeFile(beside, text, { flag: "wx", mode: 0o600 })
    await fs.rename(beside, path)
  } catch (error) {
    await fs.rm(beside, { force: true })
    throw error
  }
}

const read = (path: string): Effect.Effect<Option.Option<string>, ProfileError> =>
  Effect.tryPromise({
    try: async () => {
      try {
        return Option.some(await fs.readFile(path, "utf8"))
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return Option.none()
        throw error
      }
    },
    catch: () => unavailable(path, "read")
  })

const parse = (path: string, text: string) =>
  Effect.filterOrFail(
    Effect.try({ try: (): unknown => JSON.parse(text), catch: () => malformed(path) }),
    isObject,
    () => malformed(path)
  )

const malformed = (path: string): ProfileError =>
  new ProfileError({
    reason: "Malformed",
    message: `${path} holds no JSON object: repair it, or move it away.`
  })

const unavailable = (path: string, what: string): ProfileError =>
  new ProfileError({
    reason: "Unavailable",
    message: `${path} could not be ${what}: check its permissions.`
  })
