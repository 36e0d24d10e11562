import { existsSync, readFileSync, readdirSync } from "node:fs"
import { join, relative } from "node:path"
import ts from "typescript"
import { expect, it } from "vitest"

const root = join(import.meta.dirname, "..")

interface Snippet {
  readonly file: string
  readonly code: string
}

/** Every `ts` block, padded to its own line so that an error refers to the page's line. */
const snippetsOf = (page: string, markdown: string): ReadonlyArray<Snippet> =>
  [...markdown.matchAll(/^```ts\b.*\n([^]*?)^```$/gm)].map((block) => {
    const line = markdown.slice(0, block.index).split("\n").length
    return { file: join(root, `${page}.${line}.ts`), code: "\n".repeat(line) + block[1]! }
  })

const options = (): ts.CompilerOptions => {
  const parsed = ts.getParsedCommandLineOfConfigFile(
    join(root, "tsconfig.json"),
    // Something that a page leaves out for brevity is not an error.
    { incremental: false, noUnusedLocals: false, noUnusedParameters: false },
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (problem) => expect.unreachable(String(problem.messageText))
    }
  )
  const { tsBuildInfoFile: _, ...rest } = parsed!.options
  return { ...rest, moduleDetection: ts.ModuleDetectionKind.Force }
}

/** Compiles each snippet as a separate module, against the packages' sources, without writing a file. */
const compile = (snippets: ReadonlyArray<Snippet>): ReadonlyArray<string> => {
  const virtual = new Map(snippets.map(({ code, file }) => [file, code]))
  const host = ts.createCompilerHost(options())
  const { fileExists, readFile } = host
  host.fileExists = (file) => virtual.has(file) || fileExists(file)
  host.readFile = (file) => virtual.get(file) ?? readFile(file)
  const program = ts.createProgram([...virtual.keys()], options(), host)
  return snippets.flatMap(({ file }) => {
    const source = program.getSourceFile(file)!
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      (problem) => {
        const { line } = source.getLineAndCharacterOfPosition(problem.start ?? 0)
        const page = relative(root, file).replace(/\.\d+\.ts$/, "")
        return `${page}:${line + 1} ${ts.flattenDiagnosticMessageText(problem.messageText, "\n")}`
      }
    )
  })
}

/** The pages in a folder, by their paths from the root. */
const pagesIn = (folder: string): ReadonlyArray<string> =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder))
        .filter((name) => name.endsWith(".md"))
        .map((name) => `${folder}/${name}`)
    : []

const packages = readdirSync(join(root, "packages")).map((name) => `packages/${name}`)

const pages = [
  "README.md",
  ".github",
  "packages/docs/guide",
  ...packages,
  ...packages.map((p) => `${p}/docs`)
]
  .flatMap((place) => (place.endsWith(".md") ? [place] : pagesIn(place)))
  .filter((page) => existsSync(join(root, page)))
  .map((page) => ({ page, snippets: snippetsOf(page, readFileSync(join(root, page), "utf8")) }))

const broken = snippetsOf(
  "PAGE.md",
  [
    "# Page",
    "",
    "```ts",
    'import * as Decision from "@latchkey/core/Decision"',
    "Decision.decideNot()",
    'const x: number = "one"',
    "```",
    "",
    "```ts",
    "const x = 1 // a module of its own",
    "x.",
    "```",
    ""
  ].join("\n")
)

it("finds the snippets of the front page and of the guides", () => {
  for (const name of ["README.md", "packages/docs/guide/start.md"]) {
    expect(pages.find(({ page }) => page === name)?.snippets.length).toBeGreaterThan(0)
  }
})

it("compiles every snippet, and would tell a broken one by its line", { timeout: 240_000 }, () => {
  expect(compile([...pages.flatMap(({ snippets }) => snippets), ...broken])).toEqual([
    expect.stringMatching(/^PAGE\.md:5 Property 'decideNot' does not exist/),
    "PAGE.md:6 Type 'string' is not assignable to type 'number'.",
    "PAGE.md:11 Identifier expected."
  ])
})

it("leads nowhere by no link between files", () => {
  const dead = pages.flatMap(({ page }) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
      .filter(([, target]) => !existsSync(join(root, page, "..", target!)))
      .map(([, target]) => `${page}: ${target}`)
  )
  expect(dead).toEqual([])
})

/** The anchors of a page, in the form that sites make from its headings. */
const anchorsOf = (markdown: string): ReadonlySet<string> =>
  new Set(
    [...markdown.replace(/^```[^]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .trim()
        .replace(/\s/g, "-")
    )
  )

it("leads to a heading that is there by every link that names one", () => {
  const dead = pages.flatMap(({ page }) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)#([^)\s]+)\)/g)]
      .filter(([, target, anchor]) => {
        const file = target === "" ? page : join(page, "..", target!)
        return (
          !existsSync(join(root, file)) || !anchorsOf(readFileSync(join(root, file), "utf8")).has(anchor!)
        )
      })
      .map(([link]) => `${page}: ${link}`)
  )
  expect(dead).toEqual([])
})
