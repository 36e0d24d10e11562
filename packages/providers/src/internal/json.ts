/** Reads foreign JSON. */
import * as Option from "effect/Option"

export type JsonObject = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Returns the value at the end of the keys, or `undefined` if there is none. */
const valueAt = (value: unknown, path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>(
    (inner, key) => (isObject(inner) && Object.hasOwn(inner, key) ? inner[key] : undefined),
    value
  )

/** Returns the text or number there, as text. Blank counts as none. */
export const textAt = (value: unknown, path: ReadonlyArray<string>): Option.Option<string> => {
  const found = valueAt(value, path)
  if (typeof found === "number" && Number.isFinite(found)) return Option.some(String(found))
  return typeof found === "string" && found.trim() !== "" ? Option.some(found) : Option.none()
}
