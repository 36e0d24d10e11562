/** Settings as they are given, checked: what cannot work is a `ConfigError` that names it. */
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"

export const invalid = (setting: string, problem: string) =>
  Either.left(ConfigError.InvalidData([setting], `${setting} ${problem}`))

export const millis = (
  setting: string,
  input: Duration.DurationInput
): Either.Either<number, ConfigError.ConfigError> => {
  const duration = Duration.decodeUnknown(input)
  const value = duration._tag === "Some" ? Duration.toMillis(duration.value) : Number.NaN
  // `Duration` turns what is negative or NaN into zero without a word: look at what was given.
  return [value, ...numbersIn(input)].every((n) => Number.isFinite(n) && n >= 0)
    ? Either.right(value)
    : invalid(setting, "must be a finite duration, not negative")
}

const numbersIn = (input: Duration.DurationInput): ReadonlyArray<number> => {
  if (Duration.isDuration(input)) return []
  if (typeof input === "string") return [Number.parseFloat(input)]
  return typeof input === "object" ? input : [Number(input)]
}

export const count = (setting: string, value: number): Either.Either<number, ConfigError.ConfigError> =>
  Number.isSafeInteger(value) && value > 0
    ? Either.right(value)
    : invalid(setting, "must be a whole number, 1 at least")
