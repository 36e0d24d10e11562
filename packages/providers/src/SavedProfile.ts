/**
 * The profile that a provider's own program keeps in a file: `.account.json` of Claude, the API's answer as it
 * came. It is no secret, and may be old.
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

const pathOf = (provider: Provider): Effect.Effect<Option.Option<string>, ConfigError.ConfigError> =>
  Effect.flatMap(Directory.of(provider), (directory) =>
    Effect.transposeMapOption(Option.fromNullable(provider.profile.file), (file) =>
      Effect.suspend(() => Directory.pathIn(provider, directory, file))
    )
  )

/**
 * The profile in the file; none where there is no such file, or the provider has none. What is no profile fails
 * with `Malformed` and stays as it is.
 *
 * @since 0.1.0
 * @category operations
 */
export const load = (
  provider: Provider
): Effect.Effect<Option.Option<Profile>, ProfileError | ConfigError.ConfigError> =>
  Effect.flatMap(
    pathOf(provider),
    Effect.transposeMapOption((path) =>
      Effect.flatMap(read(path), (text) =>
        Effect.transposeMapOption(text, (found) =>
          Effect.map(parse(path, found), (document) => fromDocument(provider, document))
        )
      )
    )
  ).pipe(Effect.map(Option.flatten))

/**
 * Keeps what the provider answered, 0600, in place of what was there; nothing where the provider has no such
 * file.
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

/** A reader finds the old one or the new one, never half of it. */
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
