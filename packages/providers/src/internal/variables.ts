/** Settings from the environment: `LATCHKEY_<ID>_<SECTION>_<FIELD>` for each setting. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Shapes from "../edition/Shapes.js"
import { ProviderError } from "../Provider.js"
import { Settings } from "../ProviderSettings.js"
import { variableName } from "./variableName.js"

/** How a variable's text is read: unchanged, as words, as `true` or `false`, or as JSON. */
type Kind = "text" | "words" | "flag" | "json"

interface Leaf {
  readonly path: ReadonlyArray<string>
  readonly kind: Kind
}

const leavesOf = (path: ReadonlyArray<string>, shape: Shapes.Shape): ReadonlyArray<Leaf> =>
  shape.kind === "object" && shape.fields.length > 0
    ? shape.fields.flatMap(([name, field]) => leavesOf([...path, name], field))
    : [{ path, kind: kindOf(shape) }]

const kindOf = (shape: Shapes.Shape): Kind => {
  switch (shape.kind) {
    case "flag":
      return "flag"
    case "object":
      return "json"
    case "list":
      return shape.items[0]?.kind === "list" || shape.items[0]?.kind === "object" ? "json" : "words"
    case "other":
      return "text"
  }
}

/** All settings. */
export const leaves: ReadonlyArray<Leaf> = leavesOf([], Shapes.of(Settings))

type Json = Record<string, unknown>

/**
 * Returns the settings of a provider in the environment, and the names of their variables. None if there are
 * none.
 */
export const read = (
  id: string
): Effect.Effect<
  Option.Option<{ readonly settings: Json; readonly names: ReadonlyArray<string> }>,
  ProviderError
> =>
  Effect.gen(function* () {
    const settings: Json = {}
    const names: Array<string> = []
    for (const { kind, path } of leaves) {
      const name = variableName(id, path)
      const malformed = (problem: string) =>
        new ProviderError({ reason: "Malformed", provider: id, message: `The variable ${name} ${problem}.` })
      const text = yield* Effect.mapError(Config.option(Config.string(name)), () =>
        malformed("could not be read")
      )
      if (Option.isNone(text)) continue
      put(settings, path, yield* Either.mapLeft(valueOf(kind, text.value), malformed))
      names.push(name)
    }
    return names.length === 0 ? Option.none() : Option.some({ settings, names })
  })

const valueOf = (kind: Kind, text: string): Either.Either<unknown, string> => {
  switch (kind) {
    case "text":
      return Either.right(text)
    case "words":
      return Either.right(text.split(/[\s,]+/).filter((word) => word !== ""))
    case "flag":
      return text === "true" || text === "false"
        ? Either.right(text === "true")
        : Either.left("must be true or false")
    case "json":
      return Either.try({ try: (): unknown => JSON.parse(text), catch: () => "must be JSON" })
  }
}

const put = (into: Json, [key = "", ...rest]: ReadonlyArray<string>, value: unknown): void => {
  if (rest.length === 0) into[key] = value
  else put((into[key] ??= {}) as Json, rest, value)
}
