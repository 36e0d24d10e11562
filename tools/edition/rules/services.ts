import { Node, SyntaxKind } from "ts-morph"
import type { Rule } from "../Edit.js"

/** `Context.Tag("id")<Self, Shape>()` → `Context.Service<Self, Shape>()("id")`. */
export const tags: Rule = {
  name: "services: tags",
  kinds: [SyntaxKind.CallExpression, SyntaxKind.ExpressionWithTypeArguments],
  apply: (node, edit) => {
    if (!Node.isCallExpression(node) && !Node.isExpressionWithTypeArguments(node)) return
    const inner = node.getExpression()
    const call = edit.callOf(inner)
    if (call?.module !== "Context" || call.name !== "Tag" || !Node.isCallExpression(inner)) return
    const types = node.getTypeArguments()
    const [id] = inner.getArguments()
    const [first, last] = [types[0], types.at(-1)]
    if (id === undefined || first === undefined || last === undefined)
      return edit.fail(node, "a tag without types")
    const callee = inner.getExpression()
    const name = Node.isPropertyAccessExpression(callee) ? callee.getNameNode() : callee
    edit.change(name.getEnd(), first.getPos(), "<")
    edit.change(node.getEnd(), node.getEnd(), `(${id.getText()})`)
  }
}

/** `class X extends Context.Reference<X>()(id, options) {}` → `const X = Context.Reference(id, options)`. */
export const references: Rule = {
  name: "services: references",
  kinds: [SyntaxKind.ClassDeclaration],
  apply: (node, edit) => {
    if (!Node.isClassDeclaration(node)) return
    const base = node.getExtends()?.getExpression()
    if (base === undefined || !Node.isCallExpression(base)) return
    const call = edit.callOf(base.getExpression())
    if (call?.module !== "Context" || call.name !== "Reference") return
    const name = node.getNameNodeOrThrow()
    const keyword = node.getFirstChildByKindOrThrow(SyntaxKind.ClassKeyword)
    edit.change(keyword.getStart(), name.getEnd(), `const ${name.getText()} =`)
    edit.change(name.getEnd(), base.getStart(), " ")
    edit.change(base.getExpression().getStart(), base.getExpression().getEnd(), "Context.Reference")
    edit.change(base.getEnd(), node.getEnd(), "")
  }
}

/** `Context.Tag.Service<typeof X>` and `Context.Tag<I, S>` as types. */
export const types: Rule = {
  name: "services: types",
  kinds: [SyntaxKind.TypeReference],
  apply: (node, edit) => {
    if (!Node.isTypeReference(node)) return
    const name = node.getTypeName()
    if (!Node.isQualifiedName(name)) return
    const left = name.getLeft()
    const [first] = node.getTypeArguments()
    if (!Node.isQualifiedName(left) || left.getText() !== "Context.Tag" || first === undefined) return
    const text = Node.isTypeQuery(first)
      ? `${first.getExprName().getText()}["Service"]`
      : `${first.getText()}["Service"]`
    edit.replace(node, Node.isTypeQuery(first) ? `(typeof ${text})` : text)
  }
}
