/** Checks settings. A setting that cannot work is a `ConfigError` that names it. */
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Problems from "../edition/Problems.js"

export const invalid = (setting: string, problem: string) =>
  Either.left(Problems.invalidSetting([setting], `${setting} ${problem}`))

/**
 * Converts a duration to milliseconds. NaN if it is negative or not a duration. `Duration` silently takes
 * negative numbers and NaN for zero, and throws on words that it does not know.
 */
export const millisOf = (input: Duration.DurationInput): number =>
  numbersIn(input).every((part) => part >= 0)
    ? Option.match(Duration.decodeUnknown(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })
    : Number.NaN

const numbersIn = (input: Duration.DurationInput): ReadonlyArray<number> => {
  if (Duration.isDuration(input)) return []
  if (typeof input === "string") return [Number.parseFloat(input)]
  return typeof input === "object" ? Object.values(input) : [Number(input)]
}

export const millis = (
  setting: string,
  input: Duration.DurationInput
): Either.Either<number, ConfigError.ConfigError> => {
  const value = millisOf(input)
  return Number.isFinite(value)
    ? Either.right(value)
    : invalid(setting, "must be a finite duration, not negative")
}

/** {@link millis}, which also accepts an infinite duration. */
export const millisOrForever = (
  setting: string,
  input: Duration.DurationInput
): Either.Either<number, ConfigError.ConfigError> => {
  const value = millisOf(input)
  return Number.isNaN(value) ? invalid(setting, "must be a duration, not negative") : Either.right(value)
}

export const count = (setting: string, value: number): Either.Either<number, ConfigError.ConfigError> =>
  Number.isSafeInteger(value) && value > 0
    ? Either.right(value)
    : invalid(setting, "must be a whole number, 1 at least")

export const rate = (setting: string, value: number): Either.Either<number, ConfigError.ConfigError> =>
  value > 0 ? Either.right(value) : invalid(setting, "must be a number above 0")
