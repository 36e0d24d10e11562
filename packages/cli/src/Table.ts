/**
 * Renders a table for a terminal or a pipe. Pure: data in, lines out.
 *
 * @since 0.1.0
 */
import { type Color, cut, escape, paint, widthOf } from "./internal/text.js"

/**
 * A cell: its text, and a colour for a terminal.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cell {
  readonly text: string
  readonly color?: Color | undefined
}

/**
 * A column. If the table is too wide, columns that may shrink are cut, the widest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface Column {
  readonly title: string
  readonly shrinks?: boolean
}

/** The smallest width to which a column is cut. */
const least = 8

const gap = "  "

/**
 * Renders the lines of a table, no wider than `width` if possible.
 *
 * @since 0.1.0
 * @category rendering
 */
export const render = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>,
  options: { readonly width: number; readonly colors: boolean }
): ReadonlyArray<string> => {
  const clean = rows.map((row) =>
    row.map((cell) => ({ ...cell, text: escape(cell.text).replace(/\n/g, " ") }))
  )
  const widths = columns.map(({ title }, at) =>
    Math.max(widthOf(title), ...clean.map((row) => widthOf(row[at]?.text ?? "")))
  )
  shrink(columns, widths, options.width)
  const line = (cells: ReadonlyArray<Cell>): string =>
    columns
      .map((_, at) => {
        const { color, text } = cells[at] ?? { text: "" }
        const shown = cut(text, widths[at]!)
        const padding = at === columns.length - 1 ? "" : " ".repeat(widths[at]! - widthOf(shown))
        return paint(shown, shown === "" ? undefined : color, options.colors) + padding
      })
      .join(gap)
      .trimEnd()
  return [line(columns.map(({ title }) => ({ text: title, color: "dim" }))), ...clean.map(line)]
}

const shrink = (columns: ReadonlyArray<Column>, widths: Array<number>, width: number): void => {
  const total = () => widths.reduce((sum, w) => sum + w, gap.length * (widths.length - 1))
  while (total() > width) {
    const widest = columns.reduce(
      (best, { shrinks }, at) => (shrinks === true && widths[at]! > (widths[best] ?? least) ? at : best),
      -1
    )
    if (widest === -1) return
    widths[widest]!--
  }
}
