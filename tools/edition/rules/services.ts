import { Node } from "ts-morph"
import type { Rule } from "../Edit.js"

/** `Context.Tag("id")<Self, Shape>()` → `Context.Service<Self, Shape>()("id")`. */
export const tags: Rule = {
  name: "services: tags",
  apply: (node, edit) => {
    if (!Node.isCallExpression(node) && !Node.isExpressionWithTypeArguments(node)) return
    const inner = node.getExpression()
    const call = edit.callOf(inner)
    if (call?.module !== "Context" || call.name !== "Tag" || !Node.isCallExpression(inner)) return
    const types = node.getTypeArguments()
    const [id] = inner.getArguments()
    const [first, last] = [types[0], types.at(-1)]
    if (id === undefined || first === undefined || last === undefined) return edit.fail(node, "a tag without types")
    const callee = inner.getExpression()
    const name = Node.isPropertyAccessExpression(callee) ? callee.getNameNode() : callee
    edit.change(name.getEnd(), first.getPos(), "<")
    edit.change(node.getEnd(), node.getEnd(), `(${id.getText()})`)
  }
}

/** `Context.Tag.Service<typeof X>` and `Context.Tag<I, S>` as types. */
export const types: Rule = {
  name: "services: types",
  apply: (node, edit) => {
    if (!Node.isTypeReference(node)) return
    const name = node.getTypeName()
    if (!Node.isQualifiedName(name)) return
    const left = name.getLeft()
    const [first] = node.getTypeArguments()
    if (!Node.isQualifiedName(left) || left.getText() !== "Context.Tag" || first === undefined) return
    const text = Node.isTypeQuery(first) ? `${first.getExprName().getText()}["Service"]` : `${first.getText()}["Service"]`
    edit.replace(node, Node.isTypeQuery(first) ? `(typeof ${text})` : text)
  }
}
