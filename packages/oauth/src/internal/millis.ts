/** A span of time as it is given in settings. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/**
 * Its milliseconds, or NaN where it is none or negative: `Duration` takes what is negative or NaN for zero without
 * a word, and throws on words that it does not know.
 */
export const millisOf = (input: Duration.DurationInput): number => {
  const parts =
    typeof input === "string"
      ? [Number.parseFloat(input)]
      : Duration.isDuration(input)
        ? []
        : typeof input === "object"
          ? input
          : [Number(input)]
  return parts.every((part) => part >= 0)
    ? Option.match(Duration.decodeUnknown(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })
    : Number.NaN
}
