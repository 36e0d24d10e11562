/** The bench writes its results beside those of other runs, and only between its marks. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { publish, type Run } from "../src/Publish.js"
import { exactly, type Findings } from "../src/Report.js"

const guidePage = "packages/docs/guide/performance.md"
const goalsPage = "packages/bench/results/goals.md"
const page = "before\n\n<!-- what the bench wrote -->\n\nold\n\n<!-- until here -->\n\nafter\n"

const run = (findings: Findings): Run => ({ date: "2026-01-02", node: "v20.0.0", cores: 2, findings })

const hot = (nanoseconds: number): Run =>
  run({
    tables: [
      {
        title: "A fresh token, by await",
        unit: "ns",
        rows: [
          { name: "latchkey", value: exactly(nanoseconds) },
          { name: "another <one>", value: exactly(2 * nanoseconds) }
        ]
      }
    ],
    goals: [
      { what: "as fast as others", atMost: 1, found: 0.5 },
      { what: "as small as others", atMost: 1, found: Number.NaN }
    ]
  })

const cold: Run = run({
  tables: [
    {
      title: "One refresh",
      unit: "µs",
      rows: [
        { name: "fetch", value: exactly(1000) },
        { name: "latchkey", value: exactly(1100), ratio: exactly(1.1) }
      ]
    }
  ],
  goals: []
})

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "latchkey-publish-"))
  mkdirSync(join(root, "packages/docs/guide"), { recursive: true })
  writeFileSync(join(root, guidePage), page)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const read = (file: string): string => readFileSync(join(root, file), "utf8")
const cells = (name: string, page = guidePage): ReadonlyArray<string> | undefined =>
  read(page)
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .find((line) => line[1] === name)

it("each run stands beside those of other benches, in the place of an earlier one of its own", () => {
  expect(publish(root, { hot: hot(100) })).toEqual([
    "packages/bench/results/speed.json",
    guidePage,
    goalsPage
  ])
  publish(root, { cold })
  publish(root, { hot: hot(80) })
  expect(cells("latchkey")).toEqual(["", "latchkey", "80", "1.10", ""])
  expect(cells("another <one>")).toEqual(["", "another <one>", "160", "", ""])
  expect(Object.keys(JSON.parse(read("packages/bench/results/speed.json")))).toEqual(["hot", "cold"])
})

it("the page is left as it is outside of the marks, and what was not reached is said", () => {
  publish(root, { hot: hot(100) })
  const text = read(guidePage)
  expect(text.startsWith("before\n\n<!-- what the bench wrote -->\n\n| ")).toBe(true)
  expect(text.endsWith("<!-- until here -->\n\nafter\n")).toBe(true)
  expect(text).not.toContain("old")
  expect(cells("hot: as fast as others", goalsPage)).toEqual([
    "",
    "hot: as fast as others",
    "1",
    "0.500",
    "reached",
    ""
  ])
  expect(cells("hot: as small as others", goalsPage)).toEqual([
    "",
    "hot: as small as others",
    "1",
    "unknown",
    "**not reached**",
    ""
  ])
  for (const written of [text, read(goalsPage)])
    expect(written).toContain("2026-01-02, Node v20.0.0, 2 cores")
})

it("a page without its place, and results that are none, are told", () => {
  writeFileSync(join(root, guidePage), "nothing of the kind")
  expect(() => publish(root, { hot: hot(1) })).toThrow("has no place for the table")
  writeFileSync(join(root, "packages/bench/results/speed.json"), "{")
  expect(() => publish(root, { hot: hot(1) })).toThrow("is not what the bench wrote")
})
