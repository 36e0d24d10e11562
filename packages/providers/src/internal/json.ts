/** Reading JSON that is not ours. */
import * as Option from "effect/Option"

export type JsonObject = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** What the keys lead to, `undefined` where they lead nowhere. */
const valueAt = (value: unknown, path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>(
    (inner, key) => (isObject(inner) && Object.hasOwn(inner, key) ? inner[key] : undefined),
    value
  )

/** The text or number there, as text; blank is none. */
export const textAt = (value: unknown, path: ReadonlyArray<string>): Option.Option<string> => {
  const found = valueAt(value, path)
  if (typeof found === "number" && Number.isFinite(found)) return Option.some(String(found))
  return typeof found === "string" && found.trim() !== "" ? Option.some(found) : Option.none()
}
