/** All rules on one file. */
import type { SourceFile, SyntaxKind } from "ts-morph"
import { Edit, type Problem, type Rule } from "./Edit.js"
import { rules } from "./rules/index.js"

const byKind = new Map<SyntaxKind, Array<Rule>>()
for (const rule of rules) {
  for (const kind of rule.kinds) byKind.set(kind, [...(byKind.get(kind) ?? []), rule])
}

export interface Translated {
  readonly text: string
  readonly problems: ReadonlyArray<Problem>
}

export const translate = (file: SourceFile): Translated => {
  const edit = new Edit(file)
  file.forEachDescendant((node) => {
    for (const rule of byKind.get(node.getKind()) ?? []) rule.apply(node, edit)
  })
  return { text: edit.text(), problems: edit.problems }
}
