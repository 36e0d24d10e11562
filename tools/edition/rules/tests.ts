import { Node, SyntaxKind } from "ts-morph"
import type { Rule } from "../Edit.js"

const renamed: Readonly<Record<string, string>> = { scoped: "effect", scopedLive: "live" }

/** `it.scoped` → `it.effect`: each test has a scope. */
export const scoped: Rule = {
  name: "tests: scoped",
  kinds: [SyntaxKind.PropertyAccessExpression],
  apply: (node, edit) => {
    if (!Node.isPropertyAccessExpression(node) || node.getExpression().getText() !== "it") return
    const to = Object.hasOwn(renamed, node.getName()) ? renamed[node.getName()] : undefined
    if (to !== undefined) edit.replace(node.getNameNode(), to)
  }
}
