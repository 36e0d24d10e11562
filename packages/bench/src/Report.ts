/** The result of a bench: tables of figures, and how each compares to its goal. */
import type { Measured, Spread } from "./Measure.js"

export interface Row {
  readonly name: string
  readonly value: Spread
  /** To the first row. */
  readonly ratio?: Spread
  readonly more?: Readonly<Record<string, string | number>>
}

export interface Table {
  readonly title: string
  readonly unit: string
  readonly rows: ReadonlyArray<Row>
}

/** One figure of a row that is judged, at least or at most. `what`: a ratio if there is none. */
export interface Limit {
  readonly what?: string
  readonly atMost?: number
  readonly atLeast?: number
  readonly found: number
}

/** A row of what a user feels. If `against` is empty, it is judged alone. */
export interface Goal {
  readonly row: string
  readonly against: string
  readonly limits: ReadonlyArray<Limit>
}

export interface Findings {
  readonly tables: ReadonlyArray<Table>
  readonly goals: ReadonlyArray<Goal>
}

export const isMet = ({ limits }: Goal): boolean =>
  limits.every(
    ({ atLeast = -Infinity, atMost = Infinity, found }) =>
      Number.isFinite(found) && found >= atLeast && found <= atMost
  )

const amount = (value: number, what: string | undefined): string =>
  what === undefined ? ratio(value) : `${figure(value)} ${what}`

/** A count that must be exact has no sign. */
const bar = ({ atLeast, atMost, what }: Limit): string => {
  if (atLeast !== undefined) return `≥ ${amount(atLeast, what)}`
  const isCount = what !== undefined && Number.isInteger(atMost) && Number(atMost) <= 1
  return `${isCount ? "" : "≤ "}${amount(atMost ?? Number.NaN, what)}`
}

export const toReach = ({ limits }: Goal): string => limits.map(bar).join(", ")

export const foundBy = ({ limits }: Goal): string =>
  limits.map(({ found, what }) => amount(found, what)).join(", ")

const ratio = (value: number): string => (Number.isFinite(value) ? `× ${value.toFixed(2)}` : "not measured")

export const ratioText = (row: Row | undefined): string => ratio(row?.ratio?.median ?? Number.NaN)

const dividedBy = ({ high, low, median }: Spread, by: number): Spread => ({
  median: median / by,
  low: low / by,
  high: high / by
})

/** Creates a row with its ratio to the first one. */
export const row = (name: string, value: Spread, first: number, more?: Row["more"]): Row => ({
  name,
  value,
  ratio: dividedBy(value, first),
  ...(more !== undefined && { more })
})

/** Creates a table of durations. */
export const durations = (
  title: string,
  unit: "ns" | "µs" | "ms",
  measured: ReadonlyArray<Measured>
): Table => {
  const scale = { ns: 1, µs: 1e3, ms: 1e6 }[unit]
  const rows = measured.map(({ name, nanoseconds, ratio }) => ({
    name,
    value: dividedBy(nanoseconds, scale),
    ratio
  }))
  return { title, unit, rows }
}

/** A figure without a spread. */
export const exactly = (value: number): Spread => ({ median: value, low: value, high: value })

export const rowOf = (table: Table | undefined, name: string): Row | undefined =>
  table?.rows.find((row) => row.name === name)

/**
 * The ratio of two rows of one table, by their ratios to the first row. Those are computed per round, and a
 * slow second cancels out.
 */
export const ratioOf = (table: Table, name: string, other: string): number =>
  (rowOf(table, name)?.ratio?.median ?? Number.NaN) / (rowOf(table, other)?.ratio?.median ?? Number.NaN)

export const figure = (value: number): string =>
  !Number.isFinite(value)
    ? "unknown"
    : Number.isInteger(value) || Math.abs(value) >= 100
      ? String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",")
      : value.toPrecision(3)

const between = ({ high, low, median }: Spread): string =>
  low === high ? figure(median) : `${figure(median)} (${figure(low)}–${figure(high)})`

/** Formats the result as text. */
export const asText = ({ goals, tables }: Findings): string =>
  [...tables.map(tableText), ...(goals.length === 0 ? [] : [goals.map(goalText).join("\n")])].join("\n\n")

const goalText = (goal: Goal): string =>
  `  ${isMet(goal) ? "reached" : "NOT reached"}: ${goal.row}: ${foundBy(goal)}; to reach ${toReach(goal)}`

const tableText = ({ rows, title, unit }: Table): string => {
  const lines = rows.map((row) => [
    row.name,
    between(row.value),
    row.ratio === undefined ? "" : ratioText(row),
    Object.entries(row.more ?? {})
      .map(([name, value]) => `${name} ${value}`)
      .join(", ")
  ])
  return `${title}\n\n${markdown(["", unit, "to the first", ""], lines)}`
}

/** Columns padded as this repository's formatter pads them. */
export const markdown = (
  head: ReadonlyArray<string>,
  lines: ReadonlyArray<ReadonlyArray<string>>
): string => {
  const widths = head.map((text, i) => Math.max(3, text.length, ...lines.map((line) => line[i]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>): string =>
    `| ${widths.map((width, i) => (cells[i] ?? "").padEnd(width)).join(" | ")} |`
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`
  return [line(head), rule, ...lines.map(line)].join("\n")
}
