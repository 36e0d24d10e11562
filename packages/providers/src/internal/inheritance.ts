/**
 * How settings inherit: a provider takes the settings that it leaves out from the provider that it extends.
 */
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import { ProviderError } from "../Provider.js"

/** A source of providers. Later sources change earlier ones. */
export interface Source {
  readonly where: string
  readonly providers: Readonly<Record<string, unknown>>
}

type Json = Readonly<Record<string, unknown>>

/** Returns the settings of a provider with everything that it inherits, and the source that decided last. */
export const resolve = (
  id: string,
  sources: ReadonlyArray<Source>
): Either.Either<{ readonly settings: Json; readonly where: string }, ProviderError> => {
  const from = (
    name: string,
    level: number,
    seen: ReadonlyArray<string>
  ): Either.Either<{ readonly settings: Json; readonly where: string }, ProviderError> => {
    const at = sources
      .slice(0, level)
      .map(({ providers }) => Object.hasOwn(providers, name))
      .lastIndexOf(true)
    const source = sources[at]
    const where = source === undefined ? "" : `${source.where}, providers.${name}`
    const fail = (message: string) =>
      Either.left(new ProviderError({ reason: "Malformed", provider: id, message }))
    if (source === undefined) {
      return fail(
        `The provider ${seen.at(-1) ?? id} extends ${JSON.stringify(name.slice(0, 64))}, which does not exist.`
      )
    }
    const step = `${at}:${name}`
    if (seen.includes(step)) return fail(`In ${where}, extends refers back to itself.`)
    const own = source.providers[name]
    if (!Predicate.isRecord(own)) return fail(`In ${where}, the settings are not an object.`)
    const { extends: parent, ...settings } = own
    if (parent !== undefined && typeof parent !== "string") {
      return fail(`In ${where}, extends is not a string: give the id of a provider.`)
    }
    // By default it is the earlier provider of the same name.
    const inherited =
      parent === undefined || parent === name
        ? sources.some((s, i) => i < at && Object.hasOwn(s.providers, name))
          ? from(name, at, [...seen, step])
          : undefined
        : from(parent, sources.length, [...seen, step])
    return inherited === undefined
      ? Either.right({ settings, where })
      : Either.map(inherited, (i) => ({ settings: merge(i.settings, settings), where }))
  }
  return from(id, sources.length, [])
}

/** Sections and records are merged key by key. Everything else is replaced. */
export const merge = (old: Json, changes: Json): Json => {
  const merged = mergeObjects(old, changes)
  const server = changes["server"]
  if (!Predicate.isRecord(server)) return merged
  if (server["tokenEndpoint"] === undefined) {
    // Another issuer is another server, to which the old endpoints do not belong.
    return server["issuer"] === undefined ? merged : { ...merged, server }
  }
  // The old issuer's former names do not belong to it either.
  return { ...merged, server: { ...Object(merged["server"]), formerly: server["formerly"] } }
}

const mergeObjects = (old: Json, changes: Json): Json => {
  const merged: Record<string, unknown> = Object.assign(Object.create(null), old)
  for (const [key, value] of Object.entries(changes)) {
    const before = merged[key]
    merged[key] = isObject(value) && isObject(before) ? mergeObjects(before, value) : value
  }
  return Object.fromEntries(Object.entries(merged))
}

const isObject = (value: unknown): value is Json => Predicate.isRecord(value) && !Array.isArray(value)
