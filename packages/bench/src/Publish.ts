/** Publishes the results: the data, the table of the guide on performance, and the goals. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Findings, figure, isMet, rowOf, type Table } from "./Report.js"

export interface Run {
  readonly date: string
  readonly node: string
  readonly cores: number
  readonly findings: Findings
}

export type Results = Readonly<Record<string, Run>>

const results = "packages/bench/results"
const guidePage = "packages/docs/guide/performance.md"
const goalsPage = `${results}/goals.md`

/** Merges the new runs with those of other benches and writes everything again. Returns the written files. */
export const publish = (root: string, fresh: Results): ReadonlyArray<string> => {
  mkdirSync(join(root, results), { recursive: true })
  const data = join(root, results, "speed.json")
  const all: Results = { ...read(data), ...fresh }
  writeFileSync(data, `${JSON.stringify(all, undefined, 2)}\n`)
  const page = join(root, guidePage)
  writeFileSync(page, withSection(readFileSync(page, "utf8"), comparison(all)))
  writeFileSync(join(root, goalsPage), goals(all))
  return [`${results}/speed.json`, guidePage, goalsPage]
}

const read = (file: string): Results => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Results
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return {}
    throw new Error(`${file} is not what the bench wrote: mend it, or remove it.`, { cause: error })
  }
}

const begin = "<!-- what the bench wrote -->"
const end = "<!-- until here -->"

const withSection = (page: string, text: string): string => {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from)
    throw new Error(`${guidePage} has no place for the table: "${begin}" and "${end}".`)
  return `${page.slice(0, from)}${begin}\n\n${text}\n${page.slice(to)}`
}

/** The columns of the table: a bench, one of its tables, and the value of a row. */
interface Column {
  readonly head: string
  readonly of: (results: Results, name: string) => string
}

const tableOf = (results: Results, bench: string, title: RegExp): Table | undefined =>
  results[bench]?.findings.tables.find((table) => title.test(table.title))

/** Names a library by its package if it was loaded, and elsewhere by the part that was used. */
const packageOf: Readonly<Record<string, string>> = {
  latchkey: "@latchkey/core",
  "smithy identity": "@smithy/core"
}

const median = (head: string, bench: string, title: RegExp, rename = false): Column => ({
  head,
  of: (all, name) => {
    const row = rowOf(tableOf(all, bench, title), rename ? (packageOf[name] ?? name) : name)
    return row === undefined ? "" : figure(row.value.median)
  }
})

const columns: ReadonlyArray<Column> = [
  median("fresh, ns", "hot", /by await$/),
  {
    head: "refresh, × fetch",
    of: (all, name) => {
      const ratio = rowOf(all["cold"]?.findings.tables[0], name)?.ratio
      return ratio === undefined ? "" : figure(ratio.median)
    }
  },
  ...["1,000", "10,000"].map((callers): Column => ({
    head: `${callers} callers: requests, ms`,
    of: (all, name) => {
      const row = rowOf(tableOf(all, "herd", new RegExp(`^${callers} callers`)), name)
      if (row === undefined) return ""
      const lost = row.more?.["grant"] === "lost" ? ", **grant lost**" : ""
      return `${figure(Number(row.more?.["requests"]))}, ${figure(row.value.median)}${lost}`
    }
  })),
  ...[8, 32].map((processes): Column => ({
    head: `${processes} processes: requests, grant`,
    of: (all, name) => {
      const row = rowOf(tableOf(all, "procs", new RegExp(`^${processes} processes`)), name)
      return row === undefined ? "" : `${figure(row.value.median)}, ${String(row.more?.["grant"])}`
    }
  })),
  median("bytes an account", "memory", /100,000 accounts/),
  median("import, ms", "load", /imports it/, true),
  median("kB", "load", /Bundled/, true)
]

const ranBy = (all: Results): string => {
  const dates = [...new Set(Object.values(all).map(({ date }) => date))].sort().join(", ")
  const machine = Object.values(all)[0]
  return `By \`npm run bench\`, ${dates}, Node ${machine?.node ?? ""}, ${machine?.cores ?? 0} cores`
}

const comparison = (all: Results): string => {
  const names = [
    ...new Set(
      Object.values(all).flatMap(({ findings }) =>
        findings.tables.flatMap(({ rows }) => rows.map((r) => r.name))
      )
    )
  ].filter((name) => rowOf(tableOf(all, "hot", /by await$/), name) !== undefined)
  const used = columns.filter(({ of }) => names.some((name) => of(all, name) !== ""))
  const table = markdown(
    ["", ...used.map(({ head }) => head)],
    names.map((name) => [name, ...used.map(({ of }) => of(all, name))])
  )
  return `${table}\n\n${ranBy(all)}; medians of interleaved rounds.\n`
}

const goals = (all: Results): string => {
  const table = markdown(
    ["to reach", "at most", "found", ""],
    Object.entries(all).flatMap(([bench, { findings }]) =>
      findings.goals.map((goal) => [
        `${bench}: ${goal.what}`,
        figure(goal.atMost),
        figure(goal.found),
        isMet(goal) ? "reached" : "**not reached**"
      ])
    )
  )
  const head = "# Goals\n\nWhat we want each figure to be at most, and what the bench found."
  return `${head} \`npm run bench -- --write\` writes this page.\n\n${table}\n\n${ranBy(all)}.\n`
}

/** Columns padded as this repository's formatter pads them. */
const markdown = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = head.map((text, i) => Math.max(3, text.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>): string =>
    `| ${widths.map((width, i) => (cells[i] ?? "").padEnd(width)).join(" | ")} |`
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rows.map(line)].join(
    "\n"
  )
}
