/**
 * The secret of a local listener: a file that only its user can read.
 *
 * @since 3.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs/promises"
import * as Failure from "./Failure.js"
import * as PrivateText from "./internal/PrivateText.js"

/** Long enough that guessing it is hopeless. */
const shortest = 16

const failed = (problem: PrivateText.FileProblem) =>
  Failure.storage("LocalSecret", PrivateText.describe(problem))

/**
 * Returns the secret in a file. Creates the file with a random secret if it is missing.
 *
 * @since 3.1.0
 * @category constructors
 */
export const make = (path: string): Effect.Effect<Redacted.Redacted, Failure.Failure> =>
  Effect.flatMap(Effect.mapError(PrivateText.read(path), failed), (text) =>
    Option.match(text, { onNone: () => create(path), onSome: (known) => check(path, known) })
  )

const create = (path: string): Effect.Effect<Redacted.Redacted, Failure.Failure> => {
  const secret = randomBytes(32).toString("base64url")
  return Effect.as(Effect.mapError(PrivateText.write(path, `${secret}\n`), failed), Redacted.make(secret))
}

const check = (path: string, text: string): Effect.Effect<Redacted.Redacted, Failure.Failure> =>
  Effect.gen(function* () {
    const mode = yield* Effect.promise(() => fs.stat(path).then((found) => found.mode))
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      return yield* Failure.storage(
        "LocalSecret",
        `${path} can be read by other users of this machine.`,
        `chmod 600 ${path}`
      )
    }
    const secret = text.trim()
    if (secret.length < shortest || /[^\x21-\x7e]/.test(secret)) {
      return yield* Failure.storage(
        "LocalSecret",
        `${path} holds no secret: that is one line of ${shortest} characters or more, without blanks.`,
        `remove ${path}, and latchkey writes a new one`
      )
    }
    return Redacted.make(secret)
  })
