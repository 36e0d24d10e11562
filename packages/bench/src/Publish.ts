/** Publishes the results: the data, and the tables and charts of the guide on performance. */
import * as Option from "effect/Option"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  type Findings,
  figure,
  foundBy,
  type Goal,
  isMet,
  markdown,
  ratioText,
  type Row,
  rowOf,
  type Table,
  toReach
} from "./Report.js"

export interface Run {
  readonly date: string
  readonly node: string
  readonly cores: number
  readonly findings: Findings
}

export type Results = Readonly<Record<string, Run>>

/** What the campaign `accounts` found on PostgreSQL with so many accounts. `rssOfFew`: with 10,000 of them. */
export interface Accounts {
  readonly accounts: number
  readonly rss: number
  readonly rssOfFew: number
  readonly dueMillis: number
  readonly renewalsPerSecond: number
}

const data = "packages/bench/results/speed.json"
const accountsData = "packages/bench/results/accounts.json"
const guidePage = "packages/docs/guide/performance.md"

/** Merges the new runs with those of other benches and writes everything again. Returns the written files. */
export const publish = (root: string, fresh: Results): ReadonlyArray<string> => {
  const all: Results = { ...read<Results>(join(root, data), {}), ...fresh }
  const accounts = read<ReadonlyArray<Accounts>>(join(root, accountsData), [])
  writeFileSync(join(root, data), `${JSON.stringify(all, undefined, 2)}\n`)
  const page = join(root, guidePage)
  const sections = {
    rows: `${rows(all, accounts)}\n\n${ranBy(all)}.`,
    libraries: libraries(all),
    growth: growth(accounts)
  }
  writeFileSync(page, Object.entries(sections).reduce(replace, readFileSync(page, "utf8")))
  return [data, guidePage]
}

const read = <A>(file: string, otherwise: A): A => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as A
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return otherwise
    throw new Error(`${file} is not what the bench wrote: mend it, or remove it.`, { cause: error })
  }
}

/** Replaces what is between the marks of a section. */
const replace = (page: string, [name, text]: readonly [string, string]): string => {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${guidePage} has no place for the bench: "${begin}", "${end}".`)
  return `${page.slice(0, from)}${begin}\n\n${text}\n\n${page.slice(to)}`
}

const ranBy = (all: Results): string => {
  const dates = [...new Set(Object.values(all).map(({ date }) => date))].sort().join(", ")
  const machine = Object.values(all)[0]
  return `By \`npm run bench\`, ${dates}, Node ${machine?.node ?? ""}, ${machine?.cores ?? 0} cores`
}

const accountsGoal = ({ accounts, dueMillis, renewalsPerSecond, rss, rssOfFew }: Accounts): Goal => ({
  row: `${figure(accounts)} accounts on PostgreSQL`,
  against: "memory with 10,000 accounts",
  limits: [
    { atMost: 1.1, found: rss / rssOfFew },
    { what: "ms a query", atMost: 10, found: dueMillis },
    { what: "renewals a second", atLeast: 300, found: renewalsPerSecond }
  ]
})

const rows = (all: Results, accounts: ReadonlyArray<Accounts>): string => {
  const [most] = [...accounts].sort((a, b) => b.accounts - a.accounts)
  const goals = Object.values(all).flatMap(({ findings }) => findings.goals)
  return markdown(
    ["row", "judged against", "to reach", "found", ""],
    [...goals, ...(most === undefined ? [] : [accountsGoal(most)])].map((goal) => [
      goal.row,
      goal.against || "–",
      toReach(goal),
      foundBy(goal),
      isMet(goal) ? "reached" : "**not reached**"
    ])
  )
}

const tableOf = (results: Results, bench: string, title: RegExp): Table | undefined =>
  results[bench]?.findings.tables.find((table) => title.test(table.title))

/** The columns of the comparison: the row of a library in a table of a bench, and what is shown of it. */
interface Column {
  readonly head: string
  readonly bench: string
  readonly title: RegExp
  readonly show: (row: Row) => string
}

/** The page explains it. */
const mark = (row: Row): string => (row.more?.["grant"] === "lost" ? "†" : "")

const columns: ReadonlyArray<Column> = [
  { head: "fresh, ns", bench: "hot", title: /fresh/, show: (row) => figure(row.value.median) },
  { head: "refresh, × fetch", bench: "refresh", title: /server/, show: (row) => ratioText(row) },
  {
    head: "10,000 callers: requests, ms",
    bench: "herd",
    title: /^10,000/,
    show: (row) => `${figure(Number(row.more?.["requests"]))}, ${figure(row.value.median)}${mark(row)}`
  },
  {
    head: "8 processes: requests",
    bench: "procs",
    title: /^8 /,
    show: (row) => `${figure(row.value.median)}${mark(row)}`
  }
]

const libraries = (all: Results): string => {
  const tables = columns.map((column) => ({ ...column, table: tableOf(all, column.bench, column.title) }))
  const cells = (name: string) =>
    tables.map(({ show, table }) =>
      Option.match(Option.fromNullable(rowOf(table, name)), { onNone: () => "", onSome: show })
    )
  const names = tables[0]?.table?.rows.map(({ name }) => name) ?? []
  return markdown(
    ["", ...columns.map(({ head }) => head)],
    names.map((name) => [name, ...cells(name)])
  )
}

/** A chart for each figure: a bar for each number of accounts. */
const growth = (accounts: ReadonlyArray<Accounts>): string => {
  const sorted = [...accounts].sort((a, b) => a.accounts - b.accounts)
  const chart = (
    title: string,
    to: number,
    bars: ReadonlyArray<readonly [number, number | undefined]>
  ): string => {
    const of = (at: 0 | 1): string => bars.map((bar) => bar[at]).join(", ")
    const lines = [
      "xychart-beta",
      `title "${title}"`,
      `x-axis [${of(0)}]`,
      `y-axis 0 --> ${to}`,
      `bar [${of(1)}]`
    ]
    return ["```mermaid", lines.join("\n  "), "```"].join("\n")
  }
  const few = [10_000, sorted.at(-1)?.rssOfFew] as const
  return [
    chart("Memory of a renewing process, MB", 150, [
      few,
      ...sorted.map((one) => [one.accounts, one.rss] as const)
    ]),
    chart(
      "A query for 500 due accounts, ms",
      2,
      sorted.map((one) => [one.accounts, one.dueMillis])
    ),
    chart(
      "Renewals a second, by two processes",
      800,
      sorted.map((one) => [one.accounts, one.renewalsPerSecond])
    )
  ].join("\n\n")
}
