/** Plants each word of the list in a comment and in a page, and text that the check must not report. */
import { expect, it } from "vitest"
import { list, wordsIn } from "./words.js"

const planted: ReadonlyArray<string> = [
  "It tells the caller why.",
  "a user who asks for a token",
  "those who wait",
  "so that who only reads needs no key",
  "Whoever reads it.",
  "what was stored",
  "what became of the request",
  "It is used all the same.",
  "The file that it took in.",
  "the account that it gave out",
  "The fence is noted.",
  "Ten seconds unless given.",
  "It waits for ever.",
  "It is renewed in vain.",
  "The token is to be saved.",
  "It fails without a word.",
  "none where there is no grant",
  "zero where nothing was read",
  "a server of one's own",
  "It was read of late.",
  "The lock can be had.",
  "The user hears of it."
]

it.each(planted)("finds: %s", (text) => {
  const found = { found: expect.any(String) as string, instead: expect.any(String) as string }
  expect(wordsIn(`# Title\n\n${text}\n`, false)).toEqual([{ line: 3, ...found }])
  expect(wordsIn(`const a = 1\n/** ${text} */\nconst b = 2 // ${text}\n`, true)).toEqual([
    { line: 2, ...found },
    { line: 3, ...found }
  ])
})

it("has an example of each", () => {
  expect(planted).toHaveLength(list.length)
})

it("finds words that a line break parts, at their first line", () => {
  expect(wordsIn("/**\n * It is used all the\n * same.\n */\n", true)).toMatchObject([
    { line: 2, found: "all the same" }
  ])
})

it("reads no code", () => {
  const code =
    'const tell = "what was told" // see `tell` and {@link noted}\nconst text = `// ${tell} noted`\n'
  expect(wordsIn(code, true)).toEqual([])
  expect(
    wordsIn(`/**\n * An example:\n *\n * \`\`\`ts\n * tell(noted)\n * \`\`\`\n */\n${code}`, true)
  ).toEqual([])
  expect(wordsIn("```sh\ntell noted\n```\n\n`tell`, and [a page](told.md).\n", false)).toEqual([])
})
