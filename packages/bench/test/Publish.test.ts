/** The bench writes its results beside those of other runs, and only between its marks. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { publish, type Run } from "../src/Publish.js"
import { exactly, type Findings } from "../src/Report.js"

const guidePage = "packages/docs/guide/performance.md"
const accountsData = "packages/bench/results/accounts.json"
const marked = (...names: ReadonlyArray<string>) =>
  `before\n\n${names.map((name) => `<!-- ${name} -->\n\nold\n\n<!-- /${name} -->\n\n`).join("")}after\n`

const run = (findings: Findings): Run => ({ date: "2026-01-02", node: "v20.0.0", cores: 2, findings })

const hot = (nanoseconds: number): Run =>
  run({
    tables: [
      {
        title: "A fresh token",
        unit: "ns",
        rows: [
          { name: "latchkey", value: exactly(nanoseconds) },
          { name: "another <one>", value: exactly(2 * nanoseconds) }
        ]
      }
    ],
    goals: [
      { row: "as fast as others", against: "them", limits: [{ atMost: 1, found: 0.5 }] },
      {
        row: "as careful as others",
        against: "",
        limits: [
          { what: "errors", atMost: 0, found: 1 },
          { what: "ms", atMost: 0.2, found: Number.NaN }
        ]
      }
    ]
  })

const refresh: Run = run({
  tables: [
    {
      title: "One refresh at a server",
      unit: "ms",
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
  mkdirSync(join(root, "packages/bench/results"), { recursive: true })
  writeFileSync(join(root, guidePage), marked("rows", "libraries", "growth"))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const read = (file: string): string => readFileSync(join(root, file), "utf8")
const cells = (name: string): ReadonlyArray<string> | undefined =>
  read(guidePage)
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .find((line) => line[1] === name)

it("each run stands beside those of other benches, in the place of an earlier one of its own", () => {
  expect(publish(root, { hot: hot(100) })).toEqual(["packages/bench/results/speed.json", guidePage])
  publish(root, { refresh })
  publish(root, { hot: hot(80) })
  expect(cells("latchkey")?.slice(1, 4)).toEqual(["latchkey", "80", "× 1.10"])
  expect(cells("another <one>")?.slice(1, 4)).toEqual(["another <one>", "160", ""])
  expect(Object.keys(JSON.parse(read("packages/bench/results/speed.json")))).toEqual(["hot", "refresh"])
})

it("a page is left as it is outside of the marks, and what was not reached is a row with a number", () => {
  publish(root, { hot: hot(100) })
  const text = read(guidePage)
  expect(text.startsWith("before\n\n<!-- ")).toBe(true)
  expect(text.endsWith(" -->\n\nafter\n")).toBe(true)
  expect(text).not.toContain("old")
  expect(cells("as fast as others")?.slice(2, 6)).toEqual(["them", "≤ × 1.00", "× 0.50", "reached"])
  expect(cells("as careful as others")?.slice(2, 6)).toEqual([
    "–",
    "0 errors, ≤ 0.200 ms",
    "1 errors, unknown ms",
    "**not reached**"
  ])
  expect(read(guidePage)).toContain("2026-01-02, Node v20.0.0, 2 cores")
})

it("the accounts of the campaign are judged by the largest number, and drawn by all", () => {
  const accounts = { accounts: 2_000_000, rss: 110, rssOfFew: 100, dueMillis: 11, renewalsPerSecond: 300 }
  writeFileSync(
    join(root, accountsData),
    JSON.stringify([accounts, { ...accounts, accounts: 20_000, rss: 99 }])
  )
  publish(root, {})
  expect(cells("2,000,000 accounts on PostgreSQL")?.slice(3, 6)).toEqual([
    "≤ × 1.10, ≤ 10 ms a query, ≥ 300 renewals a second",
    "× 1.10, 11 ms a query, 300 renewals a second",
    "**not reached**"
  ])
  expect(read(guidePage)).toContain(
    "x-axis [10000, 20000, 2000000]\n  y-axis 0 --> 150\n  bar [100, 99, 110]"
  )
})

it("a page without its place, and results that are none, are reported", () => {
  writeFileSync(join(root, guidePage), "nothing of the kind")
  expect(() => publish(root, { hot: hot(1) })).toThrow("has no place for the bench")
  writeFileSync(join(root, "packages/bench/results/speed.json"), "{")
  expect(() => publish(root, { hot: hot(1) })).toThrow("is not what the bench wrote")
})
