/** Text for a terminal: what came from elsewhere, colours, widths. */

/** Control characters as they are written, so that no name or message can move the cursor or hide a line. */
export const escape = (text: string): string =>
  text.replace(/[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (character) =>
    character === "\n" ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

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

/** Without colours. */
export const plain = (text: string): string => text.replace(/\p{Cc}\[[0-9;]*m/gu, "")

/** At most `width` characters, the last one an ellipsis where something was cut. */
export const cut = (text: string, width: number): string => {
  const characters = Array.from(text)
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join("")}…`
}

export const widthOf = (text: string): number => Array.from(text).length
