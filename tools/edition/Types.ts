/** Questions that only the types of Effect 3 answer. */
import { Node, type Type } from "ts-morph"

/** Whether a node is an `Either`, by its type. Types take long: what syntax can tell is asked first. */
export const isEither = (node: Node): boolean => mayBeEither(node) && isEitherType(node.getType())

const isEitherType = (type: Type): boolean => {
  const all = type.isUnion() ? type.getUnionTypes() : [type]
  return all.length > 0 && all.every((each) => /^(Left|Right)$/.test(each.getSymbol()?.getName() ?? ""))
}

/** The modules whose functions return no `Either`. */
const others =
  /^(?:Effect|Layer|Stream|Scope|Clock|TestClock|Deferred|Fiber|Queue|PubSub|Ref|RcMap|Schedule|Metric|Logger|Exit|Cause|Duration|DateTime|Redacted|Config|Schema|Context|Data|Object|JSON|Math|Promise|Array|String|Number)$/

const literals = new Set([
  "ArrayLiteralExpression",
  "ArrowFunction",
  "BinaryExpression",
  "FunctionExpression",
  "NewExpression",
  "NumericLiteral",
  "ObjectLiteralExpression",
  "StringLiteral",
  "TemplateExpression"
])

/** A word of what is or makes an `Either`. */
const word = /either/i

const mayBeEither = (node: Node): boolean => {
  if (literals.has(node.getKindName())) return false
  if (Node.isIdentifier(node)) return word.test(node.getSourceFile().getFullText())
  if (!Node.isCallExpression(node)) return true
  const callee = node.getExpression()
  if (Node.isPropertyAccessExpression(callee) && others.test(callee.getExpression().getText())) return false
  if (/(?:^|\.)pipe$/.test(callee.getText())) {
    const last = node.getArguments().at(-1)
    return last === undefined || !isOthers(last)
  }
  const makers = Node.isIdentifier(callee) ? declarationsOf(callee) : []
  if (makers.length > 0) return makers.some(makes)
  return callee
    .getType()
    .getCallSignatures()
    .some((signature) => mayBe(signature.getReturnType()))
}

/** Whether a step of a pipe makes something else of whatever it gets. */
const isOthers = (step: Node): boolean => {
  const callee = Node.isCallExpression(step) ? step.getExpression() : step
  return (
    Node.isPropertyAccessExpression(callee) &&
    others.test(callee.getExpression().getText()) &&
    // These return what their argument returns.
    !/^(?:run\w*|match\w*|use)$/.test(callee.getName())
  )
}

/** The functions of ours that an identifier calls. */
const declarationsOf = (callee: Node): ReadonlyArray<Node> => {
  const symbol = callee.getSymbol()
  const declarations = (symbol?.getAliasedSymbol() ?? symbol)?.getDeclarations() ?? []
  return declarations.filter(
    (each) =>
      (Node.isVariableDeclaration(each) || Node.isFunctionDeclaration(each)) &&
      !each.getSourceFile().isInNodeModules()
  )
}

const makes = (declaration: Node): boolean => {
  const made = Node.isVariableDeclaration(declaration) ? declaration.getInitializer() : declaration
  const declared =
    Node.isArrowFunction(made) || Node.isFunctionDeclaration(made) ? made.getReturnTypeNode() : undefined
  return declared === undefined ? word.test(declaration.getText()) : mayBe(declared.getType())
}

const mayBe = (type: Type): boolean =>
  type.isTypeParameter() || type.isAny() || isEitherType(type) || (!type.isObject() && !type.isUnion())
