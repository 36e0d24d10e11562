/** Fields of another program's file: absent, present, or invalid. */
import type { FormatProblem } from "@latchkey/storage/FileFormat"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { isObject, type JsonObject } from "./json.js"

type Field<A> = Either.Either<Option.Option<A>, FormatProblem>

export const malformed = (path: string, problem: string): FormatProblem => ({
  reason: "Malformed",
  path,
  problem
})

/** A field that may be absent or null. Otherwise `is` must accept it. */
const field =
  <A>(is: (value: unknown) => value is A, due: string) =>
  (object: JsonObject, key: string, at = key): Field<A> => {
    const value = Object.hasOwn(object, key) ? object[key] : undefined
    if (value === undefined || value === null) return Either.right(Option.none())
    return is(value) ? Either.right(Option.some(value)) : Either.left(malformed(at, `is not ${due}`))
  }

export const text = field((value): value is string => typeof value === "string", "a string")
export const number = field((value): value is number => typeof value === "number", "a number")
export const object = field(isObject, "an object")

/** A token: a text that is not blank, because a program that is logged out may leave a blank one. */
export const token = (object: JsonObject, key: string, at = key): Field<string> =>
  Either.map(
    text(object, key, at),
    Option.filter((value) => value.trim() !== "")
  )

/**
 * The tokens of a grant. None if both are absent, null or blank, which is how programs record that nobody is
 * logged in. A refresh token without its access token is half a grant, which no program writes.
 */
export const tokens = (
  object: JsonObject,
  keys: { readonly access: string; readonly refresh: string },
  prefix = ""
): Field<{ readonly accessToken: string; readonly refreshToken: string | undefined }> =>
  Either.gen(function* () {
    const accessToken = yield* token(object, keys.access, `${prefix}${keys.access}`)
    const refreshToken = yield* token(object, keys.refresh, `${prefix}${keys.refresh}`)
    if (Option.isSome(accessToken)) {
      return Option.some({
        accessToken: accessToken.value,
        refreshToken: Option.getOrUndefined(refreshToken)
      })
    }
    return Option.isNone(refreshToken)
      ? Option.none()
      : yield* Either.left(malformed(`${prefix}${keys.access}`, "is missing"))
  })

/** Scopes: a list, or one text with spaces or commas between them. */
export const scopes = (
  object: JsonObject,
  key: string,
  at = key
): Either.Either<ReadonlyArray<string>, FormatProblem> => {
  const value = Object.hasOwn(object, key) ? object[key] : undefined
  if (value === undefined || value === null) return Either.right([])
  if (typeof value === "string") return Either.right(value.split(/[\s,]+/).filter((scope) => scope !== ""))
  return Array.isArray(value) && value.every((scope) => typeof scope === "string")
    ? Either.right(value)
    : Either.left(malformed(at, "is neither a list of strings nor a string"))
}

/** Above this (the year 5138), the number must be milliseconds and not seconds. */
const latestSeconds = 100_000_000_000

/** Converts an instant in epoch seconds to milliseconds. */
export const seconds = (object: JsonObject, key: string, at = key): Field<number> =>
  Either.flatMap(number(object, key, at), (value) =>
    Option.exists(value, (s) => s > latestSeconds)
      ? Either.left({
          reason: "WrongUnit",
          path: at,
          problem: "is after the year 5138: it may be in milliseconds, not seconds"
        })
      : Either.right(Option.map(value, (s) => s * 1000))
  )

/** Returns an object without these keys. */
export const without = (object: JsonObject, keys: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)))

/** Marks all keys of an object for removal, except these. */
export const removed = (object: JsonObject, kept: ReadonlyArray<string> = []): JsonObject =>
  Object.fromEntries(Object.keys(without(object, kept)).map((key) => [key, undefined]))

/** Why a grant is not put into a file: the file's own program could not use it. */
export const incomplete = (path: string, problem: string): FormatProblem => ({
  reason: "Incomplete",
  path,
  problem
})
