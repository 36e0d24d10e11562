/**
 * The runbook has every error that a user can meet, by its name, its reason and the words of its message; and it
 * quotes no message that nobody gets.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"
import { expect, it } from "vitest"

const root = join(import.meta.dirname, "..")
const guide = "packages/docs/guide"

const plain = (text: string): string => text.replace(/\\/g, "").replace(/\s+/g, " ").toLowerCase()

const pages = readdirSync(join(root, guide))
  .filter((name) => name.startsWith("runbook"))
  .map((name) => readFileSync(join(root, guide, name), "utf8"))
const runbook = plain(pages.join("\n"))

const sources = ["core", "oauth", "storage", "providers", "mcp"].flatMap((name) =>
  readdirSync(join(root, `packages/${name}/src`), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !/(?:^|\/)(?:testing|hostile)\//.test(file))
    .map((file) => `packages/${name}/src/${file}`)
)
const parsed = sources.map((file) => ({
  file,
  source: ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest, true)
}))

/** Every node of a file, from the top down. */
const nodesOf = (node: ts.Node): ReadonlyArray<ts.Node> => {
  const children: Array<ts.Node> = []
  ts.forEachChild(node, (child) => void children.push(child))
  return [node, ...children.flatMap(nodesOf)]
}

/** What stands in the place of a value in a message. */
const gap = "\0"

/** The texts that an expression can have, as far as they are written in it. */
const textsOf = (node: ts.Expression): ReadonlyArray<string> => {
  if (ts.isStringLiteralLike(node)) return [node.text]
  if (ts.isParenthesizedExpression(node)) return textsOf(node.expression)
  if (ts.isConditionalExpression(node)) return [...textsOf(node.whenTrue), ...textsOf(node.whenFalse)]
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    return textsOf(node.left).flatMap((left) => textsOf(node.right).map((right) => left + right))
  }
  if (ts.isTemplateExpression(node)) {
    return [node.head.text + node.templateSpans.map(({ literal }) => gap + literal.text).join("")]
  }
  return [gap]
}

/** What stands around the words of a part. */
const edges = /^[\s:;,.()]+|[\s:;,.()]+$/g

const wordsOf = (text: string): ReadonlyArray<string> =>
  text.split(" ").filter((word) => /[a-z]{2}/i.test(word))

/** The parts of a message between its values that are long enough to be looked up. */
const partsOf = (message: string): ReadonlyArray<string> =>
  message
    .split(gap)
    .map((part) => plain(part).replace(edges, ""))
    .filter((part) => wordsOf(part).length >= 3)

const isFound = (message: string): boolean => {
  const parts = partsOf(message)
  return (
    parts.length === 0 ||
    parts.some((part) => {
      const words = part.split(" ")
      const first = words.slice(0, Math.max(4, words.findIndex((word) => /[a-z]{2}/.test(word)) + 3))
      return runbook.includes(first.join(" ").replace(/[.:;,]+$/, ""))
    })
  )
}

/** The messages of errors: whatever is given as `message`, but for the schemas that say what a message is. */
const messages = parsed.flatMap(({ file, source }) =>
  nodesOf(source).flatMap((node) =>
    ts.isPropertyAssignment(node) &&
    node.name.getText() === "message" &&
    // The error of the client below, which no user gets as it is.
    !node.parent.parent.getText().startsWith("new SqlError")
      ? textsOf(node.initializer).map((text) => ({ file, text }))
      : []
  )
)

/** Where the words of messages are written that have no `message` beside them. */
const tables = [
  ...["core/src/tokenErrors.ts", "core/src/GrantIdentity.ts"],
  ...["Discovery", "Registration", "internal/need", "internal/discover", "internal/register"].map(
    (name) => `mcp/src/${name}.ts`
  ),
  ...["internal/refresher", "internal/run", "internal/sdkProviders"].map((name) => `mcp/src/${name}.ts`)
].map((path) => `packages/${path}`)
const tabled = parsed
  .filter(({ file }) => tables.includes(file))
  .flatMap(({ file, source }) =>
    nodesOf(source).flatMap((node) =>
      ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)
        ? textsOf(node).map((text) => ({ file, text }))
        : []
    )
  )

it("finds the messages in the sources", () => {
  expect(messages.filter(({ text }) => partsOf(text).length > 0).length).toBeGreaterThan(70)
  expect(tabled.filter(({ text }) => partsOf(text).length > 0).length).toBeGreaterThan(12)
  expect(isFound(`A message ${gap} that nobody has written`)).toBe(false)
})

it("every message can be found by its words", () => {
  const missing = [...messages, ...tabled].filter(({ text }) => !isFound(text))
  expect(missing.map(({ file, text }) => `${file}: ${text.replaceAll(gap, "…")}`)).toEqual([])
})

/** The error classes of the packages with the names of their reasons, as the sources declare them. */
const errors = parsed.flatMap(({ file, source }) =>
  nodesOf(source).flatMap((node) => {
    if (
      !ts.isClassDeclaration(node) ||
      !/Schema\.TaggedError</.test(node.heritageClauses?.[0]?.getText() ?? "")
    )
      return []
    const fields = node.heritageClauses![0]!.getText()
    const written = /\breason: ((?:Schema\.\w+\([^]*?\)+|\w+)),?\n/.exec(fields)?.[1] ?? ""
    const named = [...written.matchAll(/\b(\w+Reason)\b/g)].map(([, name]) => literalOf(name!)).join()
    const reasons = [...`${written}${named}`.matchAll(/"(\w+)"/g)].map(([, reason]) => reason!)
    return [{ file, tag: node.name!.text, reasons }]
  })
)

/** The declaration of a schema that several classes share. */
function literalOf(name: string): string {
  const declared = new RegExp(`export const ${name} = (Schema\\.Literal\\([^]*?\\))\\n`)
  return parsed.map(({ source }) => declared.exec(source.text)?.[1] ?? "").join("")
}

it("every error and every reason has its place", () => {
  expect(errors.map(({ tag }) => tag).sort()).toEqual([
    "AgentError",
    "CommitRefused",
    "GrantMismatch",
    "LeaseError",
    "LoginError",
    "McpError",
    "OAuthConfigError",
    "OAuthError",
    "ProfileError",
    "ProviderError",
    "ReauthorizationRequired",
    "RefreshError",
    "RefreshUnavailable",
    "StorageError"
  ])
  const text = pages.join("\n")
  const missing = errors.flatMap(({ reasons, tag }) => [
    ...(new RegExp(`^#+ ${tag}\\b|\`${tag}\``, "m").test(text) ? [] : [tag]),
    ...reasons
      // The messages of a mismatch say of what, and all have one entry.
      .filter(() => tag !== "GrantMismatch")
      .filter((reason) => !new RegExp(`^#+ .*[:,] ${reason}\\b|\`(?:${tag}: )?${reason}\``, "m").test(text))
      .map((reason) => `${tag}: ${reason}`)
  ])
  expect(missing).toEqual([])
  for (const { reasons, tag } of errors) if (tag !== "OAuthConfigError") expect(reasons).not.toEqual([])
})

/** The quotations, and the first column that is called a message, of every page; each in the parts between gaps. */
const quotations = pages.flatMap((page) => [
  ...[...page.matchAll(/^> (.*)$/gm)].map(([, quoted]) => quoted!),
  ...page
    .split(/\n\n/)
    .filter((block) => /^\|.*\bmessage\b/.test(block))
    .flatMap((block) => {
      const rows = block.split("\n").map((line) => line.split("|").map((cell) => cell.trim()))
      const at = rows[0]!.indexOf("message")
      return rows.slice(2).map((cells) => cells[at]!)
    })
])

it("quotes what the sources say", () => {
  // Without the marks of strings and templates, so that a text may be written in several parts.
  const said = plain(
    parsed.map(({ source }) => source.text.replace(/["'`] \+\s*["'`]|["'`]\s*\+\n\s*["'`]/g, "")).join("\n")
  )
  // A value may fill a gap of the source with words of its own.
  const isSaid = (part: string): boolean => {
    const words = part.split(" ")
    const cuts = words.map((_, at) => [words.slice(0, at).join(" "), words.slice(at).join(" ")] as const)
    return cuts.some(([before, after]) => said.includes(before) && said.includes(after))
  }
  const stale = quotations.flatMap((quoted) =>
    quoted
      .split(/…| \/ |\d+|`|[.:;,()]+ ?/)
      .map((part) => plain(part).trim())
      .filter((part) => wordsOf(part).length >= 3 && !isSaid(part))
      .map((part) => `${part} (${quoted})`)
  )
  expect(isSaid("nobody has written this message anywhere")).toBe(false)
  expect(quotations.length).toBeGreaterThan(100)
  expect(stale).toEqual([])
})

it("each page is a page", () => {
  for (const page of pages) expect(page.split(/\s+/).length).toBeLessThan(1200)
  expect(existsSync(join(root, guide, "runbook.md"))).toBe(true)
})
