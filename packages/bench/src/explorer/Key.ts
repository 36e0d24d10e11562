/**
 * A short name for a value: the same for equal values, secrets included, and computed once for each object.
 */
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type { Space, World } from "./World.js"

const names = new Map<string, string>()
let known = new WeakMap<object, string>()

/** Forgets all names. */
export const clear = (): void => {
  names.clear()
  known = new WeakMap()
}

const intern = (text: string): string => {
  let name = names.get(text)
  if (name === undefined) names.set(text, (name = names.size.toString(36)))
  return name
}

const keyOf = (value: unknown): string => {
  if (typeof value !== "object" || value === null) return String(value)
  let name = known.get(value)
  if (name === undefined) known.set(value, (name = intern(textOf(value))))
  return name
}

const textOf = (value: object): string => {
  if (Redacted.isRedacted(value)) return `R${keyOf(Redacted.value(value))}`
  if (Duration.isDuration(value)) return `D${Duration.toMillis(value)}`
  if (value instanceof Error) return `E${value.message}`
  if (Array.isArray(value)) return `[${value.map(keyOf).join()}]`
  let text = "_tag" in value ? `${String(value._tag)}{` : "{"
  for (const name of Object.keys(value)) text += `${name}:${keyOf(value[name as keyof typeof value])},`
  return text
}

/** If all processes begin alike, worlds that differ only in the order of the processes have one name. */
export const ofWorld = (space: Space, { holder, processes, ...rest }: World): string => {
  const each = processes.map((process, i) => `${keyOf(process)}${i === holder ? "!" : ""}`)
  if (space.skew === 0 && !space.forced) each.sort()
  return `${each.join()} ${Object.values(rest).map(keyOf).join()}`
}
