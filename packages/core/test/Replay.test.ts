import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { replayText, type Report } from "../../bench/src/Replay.js"

const fixture = (name: string) => readFileSync(new URL(`./fixtures/${name}`, import.meta.url), "utf8")

const replay = (file: string, text: string) =>
  Effect.gen(function* () {
    const report: Report = { traces: 0, steps: 0, masks: 0, mismatches: [] }
    yield* replayText(report, file, text)
    return report
  })

const traces = fixture("traces.jsonl")
const maskings = fixture("masking.json")

describe("what the original answered, we answer", () => {
  it.effect("in all of 300 traces", () =>
    Effect.gen(function* () {
      expect(yield* replay("traces.jsonl", traces)).toEqual({
        traces: 300,
        steps: 5488,
        masks: 0,
        mismatches: []
      })
    })
  )

  it.effect("in all of 250 maskings", () =>
    Effect.gen(function* () {
      expect(yield* replay("masking.json", maskings)).toEqual({
        traces: 0,
        steps: 0,
        masks: 250,
        mismatches: []
      })
    })
  )
})

interface RecordedStep {
  op: string
  arg?: unknown
  result: unknown
  refreshes: number
}

interface RecordedTrace {
  trace: Array<RecordedStep>
}

const recorded = traces
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as RecordedTrace)

/** Another answer of the same kind, which is wrong. */
const otherwise = (result: unknown): unknown =>
  typeof result === "boolean"
    ? !result
    : typeof result === "number"
      ? result + 1
      : typeof result === "string"
        ? `${result}x`
        : result === null
          ? "x"
          : { ...result, extra: null }

const answered = [
  "save",
  "clear",
  "peekAccessToken",
  "getAccessToken",
  "shouldRefresh",
  "authStatus",
  "isAuthenticated",
  "validateToken",
  "secondsUntilExpiration",
  "snapshot"
] as const

describe("a planted mismatch is found", () => {
  const first = (op: string) => {
    const trace = recorded.find((t) => t.trace.some((s) => s.op === op && s.result !== null))!
    const step = trace.trace.findIndex((s) => s.op === op && s.result !== null)
    return { copy: structuredClone(trace), step }
  }

  it.effect.each(answered)("in the answer of %s, and nowhere else", (op) =>
    Effect.gen(function* () {
      const { copy, step } = first(op)
      const planted = copy.trace[step]!
      const actual = { result: planted.result, refreshes: planted.refreshes }
      planted.result = otherwise(planted.result)
      const text = `${JSON.stringify(recorded[0])}\n\n${JSON.stringify(copy)}\n`
      const { mismatches } = yield* replay("x.jsonl", text)
      expect(mismatches).toEqual([
        {
          file: "x.jsonl",
          line: 3,
          step,
          op,
          expected: { result: planted.result, refreshes: planted.refreshes },
          actual
        }
      ])
    })
  )

  it.effect("in each field of a status and a snapshot", () =>
    Effect.gen(function* () {
      for (const op of ["authStatus", "snapshot"]) {
        const { copy, step } = first(op)
        const planted = copy.trace[step]!
        const result = planted.result as Record<string, unknown>
        expect(Object.keys(result).length).toBeGreaterThan(1)
        for (const [field, value] of Object.entries(result)) {
          planted.result = { ...result, [field]: otherwise(value) }
          const { mismatches } = yield* replay("x.jsonl", JSON.stringify(copy))
          expect(
            mismatches.map((m) => m.step),
            `${op}.${field}`
          ).toEqual([step])
        }
      }
    })
  )

  it.effect("in the count of refreshes", () =>
    Effect.gen(function* () {
      const { copy, step } = first("getAccessToken")
      copy.trace[step]!.refreshes++
      const { mismatches } = yield* replay("x.jsonl", JSON.stringify(copy))
      expect(mismatches.map((m) => m.step)).toEqual([step])
    })
  )

  it.effect("in what storage held: a write that is left out", () =>
    Effect.gen(function* () {
      const line = recorded.find((t) => t.trace.some((s) => s.op === "externalWrite"))!
      const trace = line.trace.filter((s) => s.op !== "externalWrite")
      const { mismatches } = yield* replay("x.jsonl", JSON.stringify({ ...line, trace }))
      expect(mismatches.length).toBeGreaterThan(0)
    })
  )

  it.effect.each(["access", "refresh", "access_default", "refresh_default", "has"] as const)(
    "in a masking's %s",
    (field) =>
      Effect.gen(function* () {
        const cases = JSON.parse(maskings) as Array<Record<string, unknown>>
        const index = cases.findIndex((c) => c["token"] !== null && c[field] !== null)
        const planted = { ...cases[index], [field]: otherwise(cases[index]![field]) }
        const actual = cases[index]![field]
        cases[index] = planted
        const { mismatches } = yield* replay("x.json", JSON.stringify(cases))
        expect(mismatches).toMatchObject(
          (field === "has" ? ["has", "hasRefresh"] : [field]).map((op) => ({
            file: "x.json",
            line: index + 1,
            op,
            expected: planted[field],
            actual
          }))
        )
        expect(mismatches).toHaveLength(field === "has" ? 2 : 1)
      })
  )
})

describe("a file that is none", () => {
  it.effect.each([
    ["x.jsonl", "{"],
    ["x.jsonl", '{"trace":[]}'],
    ["x.jsonl", JSON.stringify({ ...recorded[0], trace: [{ op: "unheardOf", result: null, refreshes: 0 }] })],
    ["x.json", "[]]"],
    ["x.json", '[{"token":"t"}]']
  ] as const)("%s: %s", ([file, text]) =>
    Effect.gen(function* () {
      expect((yield* Effect.either(replay(file, text)))._tag).toBe("Left")
    })
  )
})
