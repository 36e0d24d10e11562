/** Text for a terminal: escaping of foreign text, colours, widths. */

/** Characters that control a terminal (C0 and C1), reverse text, or are invisible. */
const unshown = String.raw`[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]`

const unshownOnly = new RegExp(unshown, "gu")

/** Writes a character as JSON does. */
const written = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`
  ).join("")

/**
 * Writes control, bidirectional and invisible characters as escapes, so that no name or message can move the
 * cursor, hide a part of itself, or look like another one. Line feeds stay. For one line use
 * {@link escapeLine}.
 */
export const escape = (text: string): string =>
  text.replace(unshownOnly, (character) => (character === "\n" ? character : written(character)))

/** The same for text that must stay on one line. */
export const escapeLine = (text: string): string => text.replace(unshownOnly, written)

/** Formats a value as one line of JSON with visible characters only. It parses back to the same value. */
export const json = (value: unknown): string => escapeLine(JSON.stringify(value))

export type Color = "red" | "green" | "yellow" | "dim" | "bold"

const codes: Readonly<Record<Color, readonly [number, number]>> = {
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  dim: [2, 22],
  bold: [1, 22]
}

export const paint = (text: string, color: Color | undefined, colors: boolean): string =>
  colors && color !== undefined ? `\u001b[${codes[color][0]}m${text}\u001b[${codes[color][1]}m` : text

const ours = Object.values(codes).flat().join("|")
const unshownOrColor = new RegExp(String.raw`(\u001b\[(?:${ours})m)|${unshown}`, "gu")

/** {@link escapeLine}, except that it keeps the colours of {@link paint}, if there are any. */
export const escapePainted = (text: string, colors: boolean): string =>
  colors ? text.replace(unshownOrColor, (found, color?: string) => color ?? written(found)) : escapeLine(text)

/** Removes colours. */
export const plain = (text: string): string => text.replace(/\p{Cc}\[[0-9;]*m/gu, "")

/** At most `width` characters. The last one is an ellipsis if something was cut. */
export const cut = (text: string, width: number): string => {
  const characters = Array.from(text)
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join("")}…`
}

export const widthOf = (text: string): number => Array.from(text).length
