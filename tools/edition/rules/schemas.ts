import { Node, SyntaxKind } from "ts-morph"
import type { Rule } from "../Edit.js"

/** Members that were arguments are one array: `Schema.Literal("a", "b")` → `Schema.Literals(["a", "b"])`. */
export const arrays: Rule = {
  name: "schemas: arrays",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    const call = edit.callOf(node)
    if (call?.module !== "Schema" || !Node.isCallExpression(node)) return
    const all = node.getArguments()
    const [first, last] = [all[0], all.at(-1)]
    if (first === undefined || last === undefined) return
    const isMany = call.name === "Literal" && all.length > 1
    if (!isMany && call.name !== "Union" && call.name !== "Tuple") return
    const callee = node.getExpression()
    if (isMany && Node.isPropertyAccessExpression(callee)) edit.change(callee.getEnd(), callee.getEnd(), "s")
    edit.before(first, "[")
    edit.after(last, "]")
  }
}

/** `Schema.Record({ key, value })` → `Schema.Record(key, value)`. */
export const records: Rule = {
  name: "schemas: records",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    const call = edit.callOf(node)
    if (call?.module !== "Schema" || call.name !== "Record" || !Node.isCallExpression(node)) return
    const [object] = node.getArguments()
    if (!Node.isObjectLiteralExpression(object))
      return edit.fail(node, "Schema.Record without an object literal")
    const [key, value] = object.getProperties()
    if (!Node.isPropertyAssignment(key) || !Node.isPropertyAssignment(value) || key.getName() !== "key") {
      return edit.fail(node, "Schema.Record: write { key: …, value: … }")
    }
    edit.change(object.getStart(), key.getInitializerOrThrow().getStart(), "")
    edit.change(key.getEnd(), value.getInitializerOrThrow().getStart(), ", ")
    edit.change(value.getEnd(), object.getEnd(), "")
  }
}

/** `Schema.optionalWith(A, { as: "Option" })` → `Schema.OptionFromOptionalKey(A)`, and defaults. */
export const optionals: Rule = {
  name: "schemas: optionals",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    const call = edit.callOf(node)
    if (call?.module !== "Schema" || call.name !== "optionalWith" || !Node.isCallExpression(node)) return
    const [schema, options] = node.getArguments()
    const callee = node.getExpression()
    if (schema === undefined || !Node.isObjectLiteralExpression(options))
      return edit.fail(node, "optionalWith: options")
    const value = options.getProperty("default")
    if (options.getProperty("as") !== undefined && Node.isPropertyAccessExpression(callee)) {
      edit.replace(callee, `${edit.nameOf(callee.getExpression())}.OptionFromOptionalKey`)
      edit.change(schema.getEnd(), options.getEnd(), "")
    } else if (Node.isPropertyAssignment(value)) {
      edit.change(node.getStart(), schema.getStart(), "")
      edit.change(
        schema.getEnd(),
        value.getInitializerOrThrow().getStart(),
        `.pipe(Schema.withDecodingDefaultTypeKey(${edit.use("Effect")}.sync(`
      )
      edit.change(value.getEnd(), node.getEnd(), ")))")
    } else edit.fail(node, "optionalWith: these options")
  }
}

/** `Schema.Defect` is made by a call. */
export const defects: Rule = {
  name: "schemas: defects",
  kinds: [SyntaxKind.PropertyAccessExpression],
  apply: (node, edit) => {
    if (!Node.isPropertyAccessExpression(node) || node.getName() !== "Defect") return
    if (edit.moduleOf(node.getExpression()) === "Schema") edit.after(node, "()")
  }
}

/** `Schema.filter(test)` → `Schema.check(Schema.makeFilter(test))`. */
export const filters: Rule = {
  name: "schemas: filters",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    const call = edit.callOf(node)
    if (call?.module !== "Schema" || call.name !== "filter" || !Node.isCallExpression(node)) return
    edit.replace(node.getExpression(), "Schema.check(Schema.makeFilter")
    edit.after(node, ")")
  }
}

/** `Schema.Schema<A, I>` → `Schema.Codec<A, I>`. */
export const codecs: Rule = {
  name: "schemas: codecs",
  kinds: [SyntaxKind.TypeReference],
  apply: (node, edit) => {
    if (!Node.isTypeReference(node) || node.getTypeArguments().length < 2) return
    const name = node.getTypeName()
    if (
      Node.isQualifiedName(name) &&
      edit.moduleOf(name.getLeft()) === "Schema" &&
      name.getRight().getText() === "Schema"
    ) {
      edit.replace(name.getRight(), "Codec")
    }
  }
}

const checks: Readonly<Record<string, string>> = { pattern: "isPattern", finite: "isFinite" }

/** `Schema.pattern(regExp)` → `Schema.check(Schema.isPattern(regExp))`, and `Schema.between(a, b)`. */
export const checked: Rule = {
  name: "schemas: checks",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    const call = edit.callOf(node)
    if (call?.module !== "Schema" || !Node.isCallExpression(node)) return
    const [first, second] = node.getArguments()
    if (call.name === "between" && first !== undefined && second !== undefined) {
      edit.replace(node.getExpression(), "Schema.check(Schema.isBetween")
      edit.before(first, "{ minimum: ")
      edit.before(second, "maximum: ")
      edit.after(second, " }")
      edit.after(node, ")")
    } else if (Object.hasOwn(checks, call.name)) {
      edit.replace(node.getExpression(), `Schema.check(Schema.${checks[call.name]}`)
      edit.after(node, ")")
    }
  }
}

/** `schema.annotations({ … })` → `schema.annotate({ … })`. */
export const annotations: Rule = {
  name: "schemas: annotations",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    if (!Node.isCallExpression(node)) return
    const callee = node.getExpression()
    if (Node.isPropertyAccessExpression(callee) && callee.getName() === "annotations") {
      edit.replace(callee.getNameNode(), "annotate")
    }
  }
}
