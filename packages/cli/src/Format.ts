/**
 * Formats and parses durations.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/**
 * Formats milliseconds in the two largest units: `45 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`.
 *
 * @since 0.1.0
 * @category getters
 */
export const span = (millis: number): string => {
  const left = Math.max(0, Math.floor(millis / second)) * second
  const [large, small] = left < hour ? [minute, second] : left < day ? [hour, minute] : [day, hour]
  const [first, rest] = [Math.floor(left / large), Math.floor((left % large) / small)]
  const parts = [first > 0 ? `${first} ${names[large]}` : "", rest > 0 ? `${rest} ${names[small]}` : ""]
  return parts.filter((part) => part !== "").join(" ") || `0 ${names[second]}`
}

const names: Readonly<Record<number, string>> = { [second]: "s", [minute]: "min", [hour]: "h", [day]: "d" }

const units: Readonly<Record<string, number>> = { ms: 1, s: second, m: minute, min: minute, h: hour, d: day }

/**
 * Parses a duration as users type it, to milliseconds: `90` (seconds), `500ms`, `30s`, `5m`, `2h`, `1d`.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseSpan = (text: string): Either.Either<number, string> => {
  const [, digits, unit = "s"] = /^(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|min|h|d)?$/.exec(text.trim()) ?? []
  return digits === undefined
    ? Either.left(
        `${JSON.stringify(text.slice(0, 40))} is not a duration: write 90, 500ms, 30s, 5m, 2h or 1d.`
      )
    : Either.right(Math.round(Number(digits) * units[unit]!))
}
