import { Node, SyntaxKind } from "ts-morph"
import type { Rule } from "../Edit.js"
import { isEither } from "../Types.js"

const renamed: Readonly<Record<string, string>> = {
  left: "failure",
  right: "success",
  onLeft: "onFailure",
  onRight: "onSuccess"
}

/** `either.left` → `result.failure`, and the same where it is taken apart. */
export const properties: Rule = {
  name: "results: properties",
  kinds: [
    SyntaxKind.PropertyAccessExpression,
    SyntaxKind.PropertyAssignment,
    SyntaxKind.MethodDeclaration,
    SyntaxKind.ShorthandPropertyAssignment
  ],
  apply: (node, edit) => {
    if (Node.isPropertyAccessExpression(node)) {
      const to = Object.hasOwn(renamed, node.getName()) ? renamed[node.getName()] : undefined
      if (to !== undefined && isEither(node.getExpression())) edit.replace(node.getNameNode(), to)
    }
    if (Node.isPropertyAssignment(node) || Node.isMethodDeclaration(node)) {
      const name = node.getName()
      if (/^on(Left|Right)$/.test(name)) edit.replace(node.getNameNode(), renamed[name] ?? "")
    }
    if (Node.isShorthandPropertyAssignment(node) && /^on(Left|Right)$/.test(node.getName())) {
      edit.replace(node, `${renamed[node.getName()] ?? ""}: ${node.getName()}`)
    }
  }
}

const tagged: Readonly<Record<string, string>> = { Left: "Failure", Right: "Success" }

/** `either._tag === "Left"` → `result._tag === "Failure"`, and `{ _tag: "Left", left }` → `{ _tag: "Failure", failure: left }`. */
export const tags: Rule = {
  name: "results: tags",
  kinds: [SyntaxKind.StringLiteral],
  apply: (node, edit) => {
    if (!Node.isStringLiteral(node)) return
    const value = node.getLiteralValue()
    const to = Object.hasOwn(tagged, value) ? tagged[value] : undefined
    const parent = node.getParent()
    if (to === undefined) return
    if (Node.isBinaryExpression(parent)) {
      const left = parent.getLeft()
      if (Node.isPropertyAccessExpression(left) && left.getName() === "_tag") edit.replace(node, `"${to}"`)
    }
    if (!Node.isPropertyAssignment(parent) || parent.getName() !== "_tag") return
    edit.replace(node, `"${to}"`)
    const beside = value.toLowerCase()
    for (const each of parent.getParentIfKindOrThrow(SyntaxKind.ObjectLiteralExpression).getProperties()) {
      if (Node.isPropertyAssignment(each) && each.getName() === beside) {
        edit.replace(each.getNameNode(), renamed[beside] ?? beside)
      }
    }
  }
}

/** An `Either` in place of an effect: `yield* either` in `Effect.gen`, or as an argument. */
export const asEffects: Rule = {
  name: "results: as effects",
  kinds: [SyntaxKind.YieldExpression, SyntaxKind.CallExpression],
  apply: (node, edit) => {
    if (Node.isYieldExpression(node)) {
      const value = node.getExpression()
      const call = node.getFirstAncestorByKind(SyntaxKind.FunctionExpression)?.getParent()
      if (value === undefined || !Node.isCallExpression(call)) return
      const callee = edit.callOf(call)?.module ?? edit.callOf(call.getExpression())?.module
      if (callee === "Effect" && isEither(value)) {
        edit.before(value, `${edit.use("Effect")}.fromResult(`)
        edit.after(value, ")")
      }
    }
    const call = edit.callOf(node)
    if (call === undefined || !Node.isCallExpression(node) || !["Effect", "Layer"].includes(call.module))
      return
    for (const argument of node.getArguments()) {
      if (!mayBeValue(argument) || !isEither(argument)) continue
      edit.before(argument, `${edit.use("Effect")}.fromResult(`)
      edit.after(argument, ")")
    }
  }
}

/** An `Either` that a function returns in place of an effect. */
export const returned: Rule = {
  name: "results: returned as effects",
  kinds: [SyntaxKind.ArrowFunction, SyntaxKind.ReturnStatement],
  apply: (node, edit) => {
    const value = Node.isArrowFunction(node)
      ? node.getBody()
      : Node.isReturnStatement(node)
        ? node.getExpression()
        : undefined
    for (const each of value === undefined ? [] : branches(value)) {
      if (!Node.isExpression(each) || !mayBeValue(each) || !isEither(each)) continue
      if (each.getContextualType()?.getSymbol()?.getName() !== "Effect") continue
      edit.before(each, `${edit.use("Effect")}.fromResult(`)
      edit.after(each, ")")
    }
  }
}

const branches = (node: Node): ReadonlyArray<Node> =>
  Node.isConditionalExpression(node)
    ? [...branches(node.getWhenTrue()), ...branches(node.getWhenFalse())]
    : [node]

/** Whether an argument may be an `Either`. The type is checked only then, because that is slow. */
const mayBeValue = (node: Node): boolean =>
  (Node.isIdentifier(node) && !node.getText().startsWith("_")) ||
  (Node.isCallExpression(node) && !/^(Effect|Layer|Stream|Scope|Clock|Option)\./.test(node.getText())) ||
  Node.isConditionalExpression(node)
