/** What somebody meant who mistyped a word. */

/**
 * The word that is nearest to `typed`: one that it begins, if there is only one, or one that differs by a few letters
 * (one in three, two at most). A swap of two neighbours counts as one.
 */
export const nearest = (typed: string, words: ReadonlyArray<string>): string | undefined => {
  const begun = words.filter((word) => typed.length > 2 && word.startsWith(typed))
  if (begun.length === 1) return begun[0]
  const most = Math.min(2, Math.max(1, Math.floor(typed.length / 3)))
  return words
    .map((word) => ({ word, away: distance(typed, word) }))
    .filter(({ away }) => away <= most)
    .sort((a, b) => a.away - b.away)[0]?.word
}

/** How many letters are added, left out, changed or swapped with their neighbour. */
const distance = (from: string, to: string): number => {
  // No word here is near to one that is much longer, and the table stays small whatever was typed.
  if (Math.abs(from.length - to.length) > 2) return Infinity
  const table: Array<Array<number>> = [Array.from({ length: to.length + 1 }, (_, at) => at)]
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1]
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      row.push(
        Math.min(
          table[i - 1]![j]! + 1,
          row[j - 1]! + 1,
          table[i - 1]![j - 1]! + (same ? 0 : 1),
          swapped ? table[i - 2]![j - 2]! + 1 : Infinity
        )
      )
    }
    table.push(row)
  }
  return table[from.length]![to.length]!
}
