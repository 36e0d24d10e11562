/** Formatting and parsing: plain data in, text out. */
import { readFileSync, statSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Credentials, Entry } from "@latchkey/core"
import { Effect, Either, Option, TestClock } from "effect"
import { describe, expect, it } from "@effect/vitest"
import * as Account from "../src/Account.js"
import { watch } from "../src/commands/Watch.js"
import * as Format from "../src/Format.js"
import * as AgentToken from "../src/internal/agentToken.js"
import { plainToken, splitRest } from "../src/internal/arguments.js"
import { Failure } from "../src/Failure.js"
import { isMountedFile, pointsIn } from "../src/internal/mounts.js"
import { escape, escapeLine, escapePainted, json, paint } from "../src/internal/text.js"
import * as Output from "../src/Output.js"
import * as Report from "../src/Report.js"
import { settle } from "../src/Run.js"
import * as Table from "../src/Table.js"

describe("spans of time", () => {
  it.each([
    [0, "0 s"],
    [-5, "0 s"],
    [45_900, "45 s"],
    [60_000, "1 min"],
    [725_000, "12 min 5 s"],
    [12_000_000, "3 h 20 min"],
    [187_200_000, "2 d 4 h"]
  ])("%d ms are %s", (millis, words) => expect(Format.span(millis)).toBe(words))

  it.each([
    ["90", 90_000],
    ["500ms", 500],
    ["1.5m", 90_000],
    ["5min", 300_000],
    ["2 h", 7_200_000],
    ["1d", 86_400_000]
  ])("%s is understood", (text, millis) => expect(Format.parseSpan(text)).toEqual(Either.right(millis)))

  it.each(["", "soon", "-5", "5x", "1e3", "NaN", "99999999999"])("%j is refused", (text) =>
    expect(Either.isLeft(Format.parseSpan(text))).toBe(true)
  )
})

describe("names of accounts", () => {
  const known = [
    { provider: "acme", name: "default" },
    { provider: "acme", name: "work" },
    { provider: "github", name: "work" },
    { provider: "google", name: "only" }
  ]
  const found = (text: string) => Either.getOrUndefined(Either.map(Account.find(text, known), Account.idOf))
  it.each([
    ["acme", "acme/default"],
    ["acme/work", "acme/work"],
    ["github", "github/work"],
    ["google", "google/only"],
    ["only", "google/only"],
    ["default", "acme/default"]
  ])("%s is %s", (text, id) => expect(found(text)).toBe(id))
  it.each(["work", "nobody", "", "acme/", "ACME"])("%j is none, or several", (text) =>
    expect(found(text)).toBeUndefined()
  )
})

describe("the plain forms of token", () => {
  it("are read without the parser", () => {
    expect(plainToken(["token", "a", "--json"])).toEqual({
      account: "a",
      minValidity: 0,
      header: false,
      json: true,
      form: Option.none()
    })
    expect(plainToken(["token", "--min-validity", "5m", "--header", "a"])).toMatchObject({
      minValidity: 300_000,
      header: true
    })
  })
  it.each([
    [["token"]],
    [["token", "--help"]],
    [["token", "a", "b"]],
    [["token", "a", "--min-validity"]],
    [["list"]]
  ])("%j is left to the parser", (argv) => expect(plainToken(argv)).toBeUndefined())
  it("what follows -- is another command's", () => {
    expect(splitRest(["exec", "a", "--", "x", "--json", "--"])).toEqual({
      own: ["exec", "a"],
      rest: ["x", "--json", "--"]
    })
    expect(splitRest(["list"]).rest).toBeUndefined()
  })
})

describe("the short way to an agent's token", () => {
  const environment = { LATCHKEY_AGENT: "/run/agent.sock" }
  it("is for one account and a socket", () => {
    expect(AgentToken.parse(["token", "a"], environment)).toEqual({
      account: "a",
      socketPath: "/run/agent.sock"
    })
  })
  it.each([
    [["token"], environment],
    [["token", "--help"], environment],
    [["token", "a", "--json"], environment],
    [["list", "a"], environment],
    [["token", "a"], {}],
    [["token", "a"], { LATCHKEY_AGENT: "agent.sock" }],
    [["token", "a"], { LATCHKEY_AGENT: "http://127.0.0.1:80" }]
  ])("%j with %j is left to the whole command", (argv, variables) =>
    expect(AgentToken.parse(argv, variables)).toBeUndefined()
  )
  it.each([
    ['HTTP/1.1 200 OK\r\nDate: x\r\n\r\n{"token":"a-token"}', "a-token"],
    ['HTTP/1.1 401 Unauthorized\r\n\r\n{"token":"a-token"}', undefined],
    ['HTTP/1.1 200 OK\r\n\r\n{"token":"a\\u001b[2J"}', undefined],
    ["HTTP/1.1 200 OK\r\n\r\n{}", undefined],
    ["", undefined]
  ])("of %j prints %j", (response, token) => expect(AgentToken.tokenOf(response)).toBe(token))
})

describe("tables", () => {
  const columns = [{ title: "A" }, { title: "B", shrinks: true }]
  it("are as wide as they need, and cut where they may not be", () => {
    const rows = [
      [{ text: "one" }, { text: "a long text that is cut" }],
      [{ text: "three" }, { text: "b" }]
    ]
    expect(Table.render(columns, rows, { width: 100, colors: false })).toEqual([
      "A      B",
      "one    a long text that is cut",
      "three  b"
    ])
    expect(Table.render(columns, rows, { width: 20, colors: false })[1]).toBe("one    a long text …")
  })
  it("the account is cut only after the tokens are left out", () => {
    const account = "somebody.with.a.name@mail.example.com"
    const cells = (name: string) => [
      ...[
        "microsoft",
        name,
        "refreshable",
        "in 59 min 59 s",
        "abcd...wxyz",
        "efgh...stuv",
        "store, encrypted"
      ]
    ]
    const lines = (name: string, width: number) =>
      Table.render(Report.columns, [cells(name).map((text) => ({ text }))], { width, colors: false })
    expect(lines(account, 200)[1]).toBe(
      cells(account).join("  ").replace("wxyz", "wxyz ").replace("stuv", "stuv  ")
    )
    for (const [name, width, tokens] of [
      ["work", 80, 1],
      ["ada@example.com", 80, 1],
      [account, 120, 2],
      [account, 110, 1],
      [account, 92, 0]
    ] as const) {
      const [head = "", row = ""] = lines(name, width)
      expect(row).toContain(` ${name} `)
      expect(head.match(/TOKEN/g)?.length ?? 0).toBe(tokens)
      expect(row.match(/\.\.\./g)?.length ?? 0).toBe(tokens)
      expect(Math.max(head.length, row.length)).toBeLessThanOrEqual(width)
    }
    const [head = "", row = ""] = lines(account, 80)
    expect(head).not.toContain("TOKEN")
    expect(row).toContain(" somebody.with.a.name@mail.")
    expect(row.length).toBeLessThanOrEqual(80)
  })
  it("no text moves the cursor, breaks a line or turns the writing round", () => {
    const text = "\u001b[2Jx\ny\u202e\u0007"
    expect(escape(text)).toBe("\\u001b[2Jx\ny\\u202e\\u0007")
    expect(Table.render(columns, [[{ text }, { text: "" }]], { width: 100, colors: false })).toHaveLength(2)
  })
})

describe("what came from elsewhere", () => {
  const hostile = [
    ...["\u0000", "\u0007", "\b", "\t", "\r", "\u001b[2J", "\u007f", "\u0085", "\u009b2J"],
    ...["\u00ad", "\u034f", "\u061c", "\u115f", "\u17b4", "\u180e", "\u200b", "\u200d", "\u200e", "\u200f"],
    ...["\u2028", "\u2029", "\u202a", "\u202e", "\u2060", "\u2066", "\u2069", "\u206f", "\u3164", "\ufe0f"],
    ...["\ufeff", "\uffa0", "\ufff9", "\u{e0001}", "\u{e0041}", "\u{e0100}", "\u{1d173}", "\ud800"]
  ]
  const visible = /^[\u0020-\u007e]*$/

  it.each(hostile)("is shown by what it is: %j (F52)", (text) => {
    expect(escape(`a${text}b`)).toMatch(visible)
    expect(escapeLine(`a${text}b`)).toMatch(visible)
    expect(escape(`a${text}b`)).not.toBe(`a${text}b`)
    expect(json({ [text]: text })).toMatch(visible)
    expect(JSON.parse(json({ [text]: text }))).toEqual({ [text]: text })
    const row = Table.render([{ title: "X" }], [[{ text: `a${text}b` }]], { width: 80, colors: false })
    expect(row.join("|")).toMatch(visible)
  })

  it.each(["plain", "größer", "日本語", "🗝", "a\u0301", "क्", "\u05d0\u05d1", "a b"])(
    "is left alone: %j",
    (text) => expect(escapeLine(text)).toBe(text)
  )

  it("stays on its line, and has the colours that are ours alone, where there are colours (F52)", () => {
    const line = `${paint("ok", "green", true)} a\nlatchkey: done \u001b[8mhidden\u001b[31;1m`
    expect(escapePainted(line, true)).toBe(
      `${paint("ok", "green", true)} a\\u000alatchkey: done \\u001b[8mhidden\\u001b[31;1m`
    )
    expect(escapePainted(line, false)).toMatch(visible)
  })

  const surface = { isTerminal: false, colors: false, columns: 80 }
  const written = (effect: Effect.Effect<void, never, Output.Output>) => {
    let text = ""
    const take = (more: string) => Effect.sync(() => void (text += more))
    const output = { stdout: surface, stderr: surface, write: take, writeError: take }
    Effect.runSync(Effect.provideService(effect, Output.Output, output))
    return text
  }

  it("is escaped by every way to write (F52)", () => {
    const text = `x\r\n${hostile.join("")}`
    const lines = (all: string) => all.slice(0, -1).split("\n")
    for (const all of [
      written(Output.print(text)),
      written(Output.say(text)),
      written(Output.printJson({ text })),
      written(Output.sayJson({ text }))
    ]) {
      expect(lines(all)).toHaveLength(1)
      expect(lines(all)[0]).toMatch(visible)
    }
    const failed = Effect.asVoid(
      settle(Effect.fail(new Failure({ code: 1, reason: text, message: text, next: text })), { json: false })
    )
    expect(lines(written(failed))).toHaveLength(2)
    for (const line of lines(written(failed))) expect(line).toMatch(visible)
  })
})

describe("a single file that is mounted", () => {
  it("is known by its mount point (F16)", () => {
    const text = [
      "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
      "99 21 8:1 /host/a.json /home/ada/my\\040grants/a.json rw - ext4 /dev/sda1 rw",
      ""
    ].join("\n")
    expect(pointsIn(text)).toEqual(["/", "/home/ada/my grants/a.json"])
    expect(isMountedFile(fileURLToPath(import.meta.url))).toBe(false)
    expect(isMountedFile("/")).toBe(false)
    expect(isMountedFile("/nowhere/at/all")).toBe(false)
  })

  // A container of Docker has some of its own.
  const points = process.platform === "linux" ? pointsIn(readFileSync("/proc/self/mountinfo", "utf8")) : []
  const file = points.find((point) => statSync(point, { throwIfNoEntry: false })?.isFile() === true)
  it.runIf(file !== undefined)("is found where there is one (F16)", () => {
    expect(isMountedFile(file!)).toBe(true)
  })
})

describe("the state of an account", () => {
  const account: Account.Account = {
    latchkey: 1,
    provider: "acme",
    name: "default",
    grant: "refresh",
    home: { kind: "store", encryption: "none" },
    settings: {}
  }
  const now = 2_000_000_000_000
  const entry = (left: number | undefined, refreshToken?: string, dead = false) => {
    const credentials = Credentials.make({
      accessToken: "canary-of-an-access-token-0123456789",
      refreshToken,
      expiresAt: left === undefined ? undefined : now + left
    })
    const first = Entry.first(credentials)
    const mark = new Entry.DeadGrant({
      fingerprint: Entry.grantFingerprint(credentials),
      at: now,
      reason: "revoked",
      rotationLost: false
    })
    return Option.some(dead ? new Entry.Entry({ ...first, dead: Option.some(mark) }) : first)
  }
  it.each([
    ["valid", entry(1000), true],
    ["valid", entry(undefined), true],
    ["refreshable", entry(0, "r"), true],
    ["ending", entry(1000, "r", true), true],
    ["expired", entry(0), false],
    ["dead", entry(0, "r", true), false],
    ["absent", Option.none(), false]
  ] as const)("is %s", (state, held, usable) => {
    expect(Report.stateOf(held, "refresh", now)).toBe(state)
    expect(Report.isUsable(Report.stateOf(held, "refresh", now))).toBe(usable)
  })
  it("a client needs no refresh token, nor a first token", () => {
    expect(Report.stateOf(Option.none(), "client-credentials", now)).toBe("refreshable")
    expect(Report.stateOf(entry(0), "client-credentials", now)).toBe("refreshable")
  })
  it("says when it is renewed, what went wrong last, and whether only a login helps", () => {
    const rowOf = (held: Option.Option<Entry.Entry>) => Report.row(account, "store", held, now)
    const told = (held: Option.Option<Entry.Entry>) => {
      const { lastError, mustLogIn, nextRenewal } = rowOf(held)
      return [nextRenewal, lastError?.reason, mustLogIn]
    }
    expect(told(entry(1000, "r"))).toEqual([now + 1000, undefined, false])
    expect(told(entry(undefined, "r"))).toEqual([null, undefined, false])
    expect(told(entry(1000))).toEqual([null, undefined, false])
    expect(told(entry(0))).toEqual([null, undefined, true])
    expect(told(entry(1000, "r", true))).toEqual([null, "GrantDead", true])
    expect(told(entry(0, "r", true))).toEqual([null, "GrantDead", true])
    expect(told(Option.none())).toEqual([null, undefined, true])
    const lines = Report.lines({ rows: [rowOf(entry(1000, "r", true))], broken: [] }, now, {
      isTerminal: false,
      colors: false,
      columns: 80
    })
    expect(lines.slice(2)).toEqual([
      "acme/default: The server refused the refresh token: revoked. Log in again."
    ])
  })
  it.effect("is drawn over as it is watched, also where a line is longer than the terminal is wide", () =>
    Effect.gen(function* () {
      const written: Array<string> = []
      const surface = { isTerminal: true, colors: true, columns: 20 }
      const row = Report.row(account, "store", entry(1000, "r", true), now)
      const look = Effect.succeed({ rows: [row], broken: [] })
      const write = (text: string) => Effect.sync(() => void written.push(text))
      yield* watch(look, false).pipe(
        Effect.provideService(Output.Output, { stdout: surface, stderr: surface, write, writeError: write }),
        (watching) => Effect.fork(watching as Effect.Effect<unknown>)
      )
      yield* TestClock.adjust(1000)
      const [, first = "", second = ""] = written
      const wide = first
        .replace(/\p{Cc}\[[\d;]*[a-zA-Z]/gu, "")
        .split("\n")
        .slice(0, -1)
      const rows = wide.reduce((sum, line) => sum + Math.ceil(line.length / 20), 0)
      expect(rows).toBeGreaterThan(wide.length)
      expect(second.startsWith(`\u001b[${rows}A\r`)).toBe(true)
    })
  )
  it("shows a quarter of a token at most, and nothing of a short one", () => {
    const row = Report.row(account, "store", entry(1000, "short-secret"), now)
    expect(row.accessToken).toBe("cana...6789")
    expect(row.refreshToken).toBe("********")
  })
})
