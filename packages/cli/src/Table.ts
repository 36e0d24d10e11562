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
 * A column. If the table is too wide, the columns that shrink are cut, the widest first. If that is not enough, the
 * optional columns are left out, the last one first. Only then are the columns cut that shrink `"last"`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Column {
  readonly title: string
  readonly shrinks?: boolean | "last"
  readonly optional?: boolean
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
  const natural = columns.map(({ title }, at) =>
    Math.max(widthOf(title), ...clean.map((row) => widthOf(row[at]?.text ?? "")))
  )
  const shown = fit(columns, natural, options.width)
  const line = (cells: ReadonlyArray<Cell>): string =>
    shown
      .map(({ at, width }, place) => {
        const { color, text } = cells[at] ?? { text: "" }
        const words = cut(text, width)
        const padding = place === shown.length - 1 ? "" : " ".repeat(width - widthOf(words))
        return paint(words, words === "" ? undefined : color, options.colors) + padding
      })
      .join(gap)
      .trimEnd()
  return [line(columns.map(({ title }) => ({ text: title, color: "dim" }))), ...clean.map(line)]
}

/** A column that is shown: its place among all columns, and its width. */
interface Shown {
  readonly at: number
  readonly width: number
}

const fit = (
  columns: ReadonlyArray<Column>,
  natural: ReadonlyArray<number>,
  width: number
): ReadonlyArray<Shown> => {
  const widths = natural.map((wanted, at) => ({ at, width: wanted }))
  const mayShrink = (at: number): boolean => columns[at]?.shrinks === true
  for (let shown = widths; ;) {
    const narrow = shrink(shown, mayShrink, width)
    const optional = shown.map(({ at }) => columns[at]?.optional === true).lastIndexOf(true)
    if (totalOf(narrow) <= width) return narrow
    if (optional === -1) return shrink(narrow, (at) => columns[at]?.shrinks !== undefined, width)
    shown = shown.filter((_, place) => place !== optional)
  }
}

const totalOf = (shown: ReadonlyArray<Shown>): number =>
  shown.reduce((sum, column) => sum + column.width, gap.length * (shown.length - 1))

/** Cuts the widest of the columns that may shrink, again and again, until the table fits or nothing can be cut. */
const shrink = (
  shown: ReadonlyArray<Shown>,
  mayShrink: (at: number) => boolean,
  width: number
): ReadonlyArray<Shown> => {
  const widths = shown.map((column) => column.width)
  for (let over = totalOf(shown) - width; over > 0; over--) {
    const widest = shown.reduce(
      (best, { at }, place) => (mayShrink(at) && widths[place]! > (widths[best] ?? least) ? place : best),
      -1
    )
    if (widest === -1) break
    widths[widest]!--
  }
  return shown.map(({ at }, place) => ({ at, width: widths[place]! }))
}
