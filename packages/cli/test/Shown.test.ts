/** What is shown, and what is understood: plain data in, text out. */
import { Credentials, Entry } from "@latchkey/core"
import { Either, Option } from "effect"
import { describe, expect, it } from "vitest"
import * as Account from "../src/Account.js"
import * as Format from "../src/Format.js"
import { plainToken, splitRest } from "../src/internal/arguments.js"
import { escape } from "../src/internal/text.js"
import * as Report from "../src/Report.js"
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
      json: true
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
  it("no text moves the cursor, breaks a line or turns the writing round", () => {
    const text = "\u001b[2Jx\ny\u202e\u0007"
    expect(escape(text)).toBe("\\u001b[2Jx\ny\\u202e\\u0007")
    expect(Table.render(columns, [[{ text }, { text: "" }]], { width: 100, colors: false })).toHaveLength(2)
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
  it("shows a quarter of a token at most, and nothing of a short one", () => {
    const row = Report.row(account, "store", entry(1000, "short-secret"), now)
    expect(row.accessToken).toBe("cana...6789")
    expect(row.refreshToken).toBe("********")
  })
})
