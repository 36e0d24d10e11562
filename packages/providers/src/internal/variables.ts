/** Settings from the environment: `LATCHKEY_<ID>_<SECTION>_<FIELD>` for each setting. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as AST from "effect/SchemaAST"
import { ProviderError } from "../Provider.js"
import { Settings } from "../ProviderSettings.js"

/** How a variable's text is read: unchanged, as words, as `true` or `false`, or as JSON. */
type Kind = "text" | "words" | "flag" | "json"

interface Leaf {
  readonly path: ReadonlyArray<string>
  readonly kind: Kind
}

const leavesOf = (path: ReadonlyArray<string>, given: AST.AST): ReadonlyArray<Leaf> => {
  const ast = bare(given)
  return ast._tag === "TypeLiteral" && ast.propertySignatures.length > 0
    ? ast.propertySignatures.flatMap(({ name, type }) => leavesOf([...path, String(name)], type))
    : [{ path, kind: kindOf(ast) }]
}

const bare = (ast: AST.AST): AST.AST => {
  if (ast._tag === "Union") {
    const [only, ...more] = ast.types.filter((type) => type._tag !== "UndefinedKeyword")
    return only !== undefined && more.length === 0 ? bare(only) : ast
  }
  return ast
}

const kindOf = (ast: AST.AST): Kind => {
  if (ast._tag === "BooleanKeyword") return "flag"
  if (ast._tag === "TypeLiteral") return "json"
  if (ast._tag !== "TupleType") return "text"
  const [item] = [...ast.elements, ...ast.rest]
  const tag = item === undefined ? undefined : bare(item.type)._tag
  return tag === "TupleType" || tag === "TypeLiteral" ? "json" : "words"
}

/** All settings. */
export const leaves: ReadonlyArray<Leaf> = leavesOf([], Settings.ast)

/** Returns the variable of a setting: `LATCHKEY_CLAUDE_SERVER_TOKEN_ENDPOINT`. */
export const variable = (id: string, path: ReadonlyArray<string>): string =>
  ["LATCHKEY", id, ...path.map((key) => key.replace(/[A-Z]/g, "_$&"))]
    .join("_")
    .replaceAll("-", "_")
    .toUpperCase()

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
      const name = variable(id, path)
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
