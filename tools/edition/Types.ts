/** Questions that only the types of Effect 3 answer. */
import type { Node } from "ts-morph"

/** Whether a node is an `Either`, by its type. */
export const isEither = (node: Node): boolean => {
  const type = node.getType()
  const all = type.isUnion() ? type.getUnionTypes() : [type]
  return all.length > 0 && all.every((each) => /^(Left|Right)$/.test(each.getSymbol()?.getName() ?? ""))
}
