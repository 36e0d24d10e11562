import { Node, SyntaxKind } from "ts-morph"
import type { Edit, Rule } from "../Edit.js"
import { exported, members } from "../Names.js"

/** `Effect.either` → `Effect.result`, and `Either.left` → `Result.fail`, as values and as types. */
export const exports: Rule = {
  name: "exports",
  kinds: [SyntaxKind.PropertyAccessExpression, SyntaxKind.QualifiedName],
  apply: (node, edit) => {
    if (Node.isPropertyAccessExpression(node)) rename(edit, node, node.getExpression(), node.getNameNode())
    if (Node.isQualifiedName(node)) rename(edit, node, node.getLeft(), node.getRight())
  }
}

const rename = (edit: Edit, node: Node, namespace: Node, name: Node): void => {
  const module = edit.moduleOf(namespace)
  if (module === undefined) return
  const to = exported[module]?.[name.getText()] ?? name.getText()
  const [other, member] = to.split(".")
  const text = member === undefined ? `${edit.nameOf(namespace)}.${to}` : `${edit.use(other ?? "")}.${member}`
  if (text !== node.getText()) edit.replace(node, text)
}

/** `clock.unsafeCurrentTimeMillis()` → `clock.currentTimeMillisUnsafe()`, used or defined. */
export const ofValues: Rule = {
  name: "members",
  kinds: [
    SyntaxKind.PropertyAccessExpression,
    SyntaxKind.PropertyAssignment,
    SyntaxKind.MethodDeclaration,
    SyntaxKind.MethodSignature,
    SyntaxKind.PropertySignature,
    SyntaxKind.PropertyDeclaration
  ],
  apply: (node, edit) => {
    const name = nameOf(node)
    const to =
      name === undefined || !Object.hasOwn(members, name.getText()) ? undefined : members[name.getText()]
    if (name !== undefined && to !== undefined) edit.replace(name, to)
  }
}

const nameOf = (node: Node): Node | undefined =>
  Node.isPropertyAccessExpression(node) ||
  Node.isPropertyAssignment(node) ||
  Node.isMethodDeclaration(node) ||
  Node.isMethodSignature(node) ||
  Node.isPropertySignature(node) ||
  Node.isPropertyDeclaration(node)
    ? node.getNameNode()
    : undefined

const nested: Readonly<Record<string, string>> = { Context: "Services" }

/** `Effect.Effect.Success<A>` → `Effect.Success<A>`, and `Config.Config.Wrap<A>` → `Config.Wrap<A>`. */
export const nestedTypes: Rule = {
  name: "nested types",
  kinds: [SyntaxKind.QualifiedName],
  apply: (node, edit) => {
    if (!Node.isQualifiedName(node)) return
    const left = node.getLeft()
    if (!Node.isQualifiedName(left) || left.getLeft().getText() !== left.getRight().getText()) return
    if (edit.moduleOf(left.getLeft()) === undefined) return
    const name = node.getRight().getText()
    edit.replace(node, `${edit.nameOf(left.getLeft())}.${nested[name] ?? name}`)
  }
}
