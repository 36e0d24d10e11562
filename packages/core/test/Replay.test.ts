import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { replayText, type Report } from "./replay/Replay.js"
import { replayFiles } from "./replay/ReplayFiles.js"

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
  it.effect("in every third of 300 traces; `npm run replay` plays all of them", () =>
    Effect.gen(function* () {
      const third = traces
        .trim()
        .split("\n")
        .filter((_, at) => at % 3 === 0)
      expect(yield* replay("traces.jsonl", third.join("\n"))).toEqual({
        traces: 100,
        steps: 1865,
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
            case: index + 1,
            op,
            expected: planted[field],
            actual
          }))
        )
        expect(mismatches).toHaveLength(field === "has" ? 2 : 1)
      })
  )
})

describe("a file that is none is told by its place", () => {
  const step = (fields: object) =>
    JSON.stringify({
      ...recorded[0],
      trace: [{ op: "advance", arg: 1, result: null, refreshes: 0, ...fields }]
    })
  const good = JSON.stringify(recorded[0])
  const masking = maskings.slice(maskings.indexOf("{"), maskings.indexOf("}") + 1)

  it.effect.each([
    ["x.jsonl", "", "x.jsonl: holds no trace"],
    ["x.jsonl", `${good}\n\n{`, "x.jsonl: line 3: is no JSON"],
    ["x.jsonl", `${good}\r\n[]`, "x.jsonl: line 2: it is not of the kind"],
    ["x.jsonl", '{"trace":[]}', "x.jsonl: line 1: credentialsTtlSeconds: it is missing"],
    ["x.jsonl", JSON.stringify({ ...recorded[0], refreshGraceSeconds: -1 }), "refreshGraceSeconds: Expected"],
    [
      "x.jsonl",
      '{"startMs":1e999,"credentialsTtlSeconds":1,"refreshGraceSeconds":1,"trace":[]}',
      "startMs: E"
    ],
    [
      "x.jsonl",
      step({ op: "unheardOf" }),
      'line 1: step 0: there is no step called "unheardOf"; there are adv'
    ],
    ["x.jsonl", step({ arg: undefined }), "line 1: step 0 (advance): arg: it is missing"],
    ["x.jsonl", step({ arg: 1e300 }), "line 1: step 0 (advance): arg: Expected milliseconds"],
    ["x.jsonl", step({ arg: 8.64e15 }), "line 1: step 0 (advance): moves the clock beyond all dates"],
    ["x.jsonl", step({ result: undefined }), "line 1: step 0 (advance): result: it is missing"],
    ["x.jsonl", step({ refreshes: -1 }), "line 1: step 0 (advance): refreshes: Expected a whole number"],
    [
      "x.jsonl",
      step({ op: "save", arg: { accessToken: "t" } }),
      "step 0 (save): arg.refreshToken: it is missing"
    ],
    ["x.json", " ", "x.json: is empty"],
    ["x.json", "[]", "x.json: holds no maskings"],
    ["x.json", `[\n${masking.replaceAll("\n", " ")},\n{]`, "x.json: line 3: is no JSON"],
    ["x.json", `[${masking}, {"token":"t"}]`, "x.json: case 2: visible: it is missing"]
  ] as const)("%s: %s", ([file, text, told]) =>
    Effect.gen(function* () {
      const problem = yield* Effect.flip(replay(file, text))
      expect(problem.message).toContain(told)
      expect(problem.message).not.toContain("\n")
    })
  )

  it.each([
    ["nothing.jsonl", "there is no such file"],
    ["fixtures", "neither a .jsonl (traces) nor a .json (maskings)"]
  ])("%s: %s", async (name, told) => {
    const path = fileURLToPath(new URL(`./${name}`, import.meta.url))
    expect(await replayFiles([path])).toEqual({ code: 2, err: `${path}: ${told}\n` })
  })

  it("is told apart from a mismatch by the exit code", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "latchkey-replay-")), "x.jsonl")
    for (const [text, code] of [
      [good, 0],
      [good.replace('"result":"at-1"', '"result":"at-2"'), 1],
      ["{", 2]
    ] as const) {
      writeFileSync(path, text)
      expect((await replayFiles([path])).code).toBe(code)
    }
    rmSync(dirname(path), { recursive: true })
    expect((await replayFiles([])).code).toBe(2)
    expect(await replayFiles(["--help"])).toMatchObject({ code: 0, out: expect.stringContaining("usage") })
  })
})

describe("as the original, at the edges", () => {
  const at = 1_700_000_000_000
  const save = (expiresAtMs: number | null, number = 1) => ({
    op: "save",
    arg: { accessToken: `at-${number}`, refreshToken: `rt-${number}`, expiresAtMs, accountId: "a" },
    result: true,
    refreshes: 0
  })
  const ask = (op: string, result: unknown, refreshes = 0, arg?: unknown) => ({ op, arg, result, refreshes })
  const moves = (by: number, refreshes = 0) => ask("advance", null, refreshes, by)

  it.effect.each([
    [
      "a grace is met by what is left of exactly as much",
      { ttl: 30, grace: 120 },
      [
        save(at + 120_001),
        ask("shouldRefresh", false),
        ask("getAccessToken", "at-1"),
        moves(1),
        ask("shouldRefresh", true),
        ask("shouldRefresh", false, 0, 119),
        ask("getAccessToken", "at-1001", 1)
      ]
    ],
    [
      "a token has expired at its expiry",
      { ttl: 30, grace: 0 },
      [
        save(at + 1000),
        moves(999),
        ask("peekAccessToken", "at-1"),
        ask("secondsUntilExpiration", 0.001),
        moves(1),
        ask("peekAccessToken", null),
        ask("shouldRefresh", true, 0, -3),
        ask("authStatus", {
          authenticated: false,
          reason: "Token expired",
          expiresAtMs: at + 1000,
          accountId: "a"
        }),
        ask("getAccessToken", "at-1001", 1)
      ]
    ],
    [
      "what is in memory is read again once it is as old as the credentials TTL",
      { ttl: 30, grace: 0 },
      [
        save(null),
        { ...save(null, 2), op: "externalWrite", result: null },
        moves(29_999),
        ask("peekAccessToken", "at-1"),
        moves(1),
        ask("peekAccessToken", "at-2")
      ]
    ],
    [
      "the grace is not clamped where no one tells when a token was obtained",
      { ttl: 30, grace: 400 },
      [
        save(at + 1000),
        ask("getAccessToken", "at-1001", 1),
        moves(199_999, 1),
        ask("getAccessToken", "at-1001", 1),
        moves(1, 1),
        ask("shouldRefresh", true, 1),
        ask("getAccessToken", "at-1002", 2)
      ]
    ],
    [
      "a clock may be set back",
      { ttl: 30, grace: 0 },
      [
        save(at + 1000),
        moves(2000),
        ask("isAuthenticated", false),
        moves(-1500),
        ask("isAuthenticated", true)
      ]
    ]
  ] as const)("%s", ([, { grace, ttl }, trace]) =>
    Effect.gen(function* () {
      const policy = { credentialsTtlSeconds: ttl, refreshGraceSeconds: grace, startMs: at }
      const { mismatches } = yield* replay("x.jsonl", JSON.stringify({ ...policy, trace }))
      expect(mismatches).toEqual([])
    })
  )
})
