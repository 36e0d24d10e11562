/** What a schema is made of, which each edition of Effect writes down in its own way. */
import type * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"

/** What may be there besides undefined. A record whose keys are not known is an object without fields. */
export type Shape =
  | { readonly kind: "object"; readonly fields: ReadonlyArray<readonly [name: string, shape: Shape]> }
  | { readonly kind: "list"; readonly items: ReadonlyArray<Shape> }
  | { readonly kind: "flag" }
  | { readonly kind: "other" }

export const of = (schema: Schema.Schema.All): Shape => shapeOf(schema.ast)

const shapeOf = (ast: AST.AST): Shape => {
  switch (ast._tag) {
    case "TypeLiteral":
      return {
        kind: "object",
        fields: ast.propertySignatures.map(({ name, type }) => [String(name), shapeOf(type)])
      }
    case "TupleType":
      return { kind: "list", items: [...ast.elements, ...ast.rest].map(({ type }) => shapeOf(type)) }
    case "BooleanKeyword":
      return { kind: "flag" }
    case "Union": {
      const [only, ...more] = ast.types.filter((type) => type._tag !== "UndefinedKeyword")
      return only !== undefined && more.length === 0 ? shapeOf(only) : { kind: "other" }
    }
    default:
      return { kind: "other" }
  }
}
