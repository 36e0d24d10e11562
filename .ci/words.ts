/*
 * npm run check:words: the words that the comments in the packages' src and the pages for readers avoid, each with what to
 * write instead. Code blocks, inline code and the addresses of links are not checked.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const noun = "name the person or the part: the caller, the client, the user, the process"

/** The words to look for, and what to write instead. A space in a pattern also matches a line break. */
const words: ReadonlyArray<readonly [pattern: RegExp, instead: string]> = [
  [/\b(tells?|told|telling)\b/, "report, log, return, show, distinguish"],
  [/\bwho ask(s|ed)?\b/, noun],
  [/\b(those|he|one) who\b/, noun],
  [/\b(so that|because|for|of|to|from|by) who\b/, noun],
  [/\bwhoever\b/, noun],
  [/\bwhat was\b/, "name the thing: the token, the entry, the contents"],
  [/\b(what )?(became|becomes|came|comes) of\b/, "the result, the outcome"],
  [/\ball the same\b/, "still, anyway"],
  [/\b(takes|took|taken|taking) in\b(?! (turns?|total)\b)/, "import, accept, read"],
  [/\b(gives|gave|given|giving) out\b/, "export, return, show"],
  [/\bnoted\b/, "recorded, stored"],
  [/\bunless (given|another is given)\b/, "Default: …"],
  [/\bfor (ever|good)\b/, "forever, permanently"],
  [/\bin vain\b/, "without effect"],
  [/\b(is|are) to be\b/, "must be, will be"],
  [/\bwithout a word\b/, "silently"],
  [/\bwhere (there|that|it) is (no|none|not)\b/, "if there is no …"],
  [/\bwhere (nothing|none|nobody|neither)\b/, "if nothing …, if nobody …"],
  [/\bone's own\b/, "your own"],
  [/\bof late\b/, "recently"],
  [/\b(can|may) be had\b/, "is available, can be taken"],
  [/\bhears? of\b/, "learns about, is reported"]
]

export const list = words.map(
  ([pattern, instead]) => [new RegExp(pattern.source.replaceAll(" ", "\\s+"), "gi"), instead] as const
)

const blank = (text: string): string => text.replace(/[^\n]/g, " ")

/** Blanks the code in a text, and keeps all places. */
const prose = (text: string): string =>
  text
    .replace(/^[ \t]*```[^]*?^[ \t]*```/gm, blank)
    .replace(/`[^`]+`/g, blank)
    .replace(/\]\([^)\s]*\)/g, blank)
    .replace(/\{@link [^}]*\}/g, blank)

/** Blanks everything in a source but the text of its comments, and keeps all places. */
const comments = (source: string): string => {
  const file = ts.createSourceFile("file.ts", source, ts.ScriptTarget.Latest, true)
  const ranges = new Map<number, number>()
  const visit = (node: ts.Node): void => {
    const children = node.getChildren(file)
    if (children.length > 0) return children.forEach(visit)
    const found = [
      ...(ts.getLeadingCommentRanges(source, node.getFullStart()) ?? []),
      ...(ts.getTrailingCommentRanges(source, node.getEnd()) ?? [])
    ]
    for (const range of found) ranges.set(range.pos, range.end)
  }
  visit(file)
  let text = ""
  for (const [start, end] of [...ranges].sort(([a], [b]) => a - b)) {
    const comment = source
      .slice(start, end)
      .replace(/^\/\*+|^\/\/|\*\/$/g, blank)
      .replace(/^[ \t]*\*/gm, blank)
    text += blank(source.slice(text.length, start)) + comment
  }
  return text
}

/** Parsing takes long, and few sources have any of the words, in comments or elsewhere. */
const mayMatch = (source: string): boolean => {
  const text = source.replace(/^[ \t]*(\*|\/\/)/gm, blank)
  return list.some(([pattern]) => text.search(pattern) !== -1)
}

interface Place {
  readonly line: number
  readonly found: string
  readonly instead: string
}

/** Returns each place with a word of the list: its line, the words found, and what to write instead. */
export const wordsIn = (text: string, isSource: boolean): ReadonlyArray<Place> => {
  if (isSource && !mayMatch(text)) return []
  const checked = prose(isSource ? comments(text) : text)
  return list
    .flatMap(([pattern, instead]) =>
      [...checked.matchAll(pattern)].map(({ 0: found, index }) => ({
        line: checked.slice(0, index).split("\n").length,
        found: found.replace(/\s+/g, " "),
        instead
      }))
    )
    .sort((a, b) => a.line - b.line)
}

const filesIn = (folder: string, suffix: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => join(entry.parentPath, entry.name))

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = process.argv[2] ?? join(import.meta.dirname, "..")
  const packages = join(root, "packages")
  const sources = readdirSync(packages).flatMap((name) => {
    try {
      return filesIn(join(packages, name, "src"), ".ts")
    } catch {
      return []
    }
  })
  const pages = [
    join(root, "README.md"),
    join(root, ".github", "CONTRIBUTING.md"),
    ...filesIn(join(packages, "docs", "guide"), ".md")
  ]
  for (const path of [...sources, ...pages]) {
    for (const { found, instead, line } of wordsIn(readFileSync(path, "utf8"), path.endsWith(".ts"))) {
      console.error(`${relative(root, path)}:${line}: "${found}": write instead: ${instead}`)
      process.exitCode = 1
    }
  }
}
