import { inspect } from "node:util"
import { addEqualityTesters, describe, expect, it } from "@effect/vitest"
import { Either, FastCheck as FC, Option, Redacted } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import { entry as anyEntry, runs } from "./support/Arbitraries.js"
import { openIntent } from "../src/grant/Marks.js"
import * as Properties from "./support/Properties.js"

// Two Redacted are equal when their secrets are.
addEqualityTesters()

const now = 1_700_000_000_000
const fingerprintOf = (secret: string) => Fingerprint.of(Redacted.make(secret))

const grant = (refreshToken: string | undefined, accessToken = "at-1") =>
  Credentials.make({ accessToken, refreshToken })

const entryOf = (credentials: Credentials.Credentials, changes: Partial<Entry.Entry> = {}) =>
  new Entry.Entry({ ...Entry.first(credentials), ...changes })

const intent = new Entry.Intent({ fingerprint: fingerprintOf("rt-1"), at: now, attempt: 2 })
const dead = new Entry.DeadGrant({
  fingerprint: fingerprintOf("rt-1"),
  at: now,
  reason: "invalid_grant",
  rotationLost: true
})

const serverWait = new Entry.ServerWait({ at: now, until: now + 60_000 })
const identity = {
  issuer: "https://a.example",
  tokenEndpoint: "https://a.example/token",
  clientId: "app",
  grantType: "urn:ietf:params:oauth:grant-type:jwt-bearer",
  subject: "ada"
}
const bound = GrantIdentity.make(identity)

describe("grantFingerprint", () => {
  it("is the refresh token's, or else the access token's", () => {
    expect(Entry.grantFingerprint(grant("rt-1", "at-1"))).toBe(fingerprintOf("rt-1"))
    expect(Entry.grantFingerprint(grant(undefined, "at-1"))).toBe(fingerprintOf("at-1"))
  })
})

describe("first", () => {
  it("begins a family, at generation 1 unless another program wrote it", () => {
    const credentials = grant("rt-1")
    expect({ ...Entry.first(credentials) }).toEqual({
      credentials,
      family: fingerprintOf("rt-1"),
      generation: 1,
      fence: 0,
      intent: Option.none(),
      dead: Option.none(),
      serverWait: Option.none(),
      identity: Option.none()
    })
    expect(Entry.first(credentials, 0).generation).toBe(0)
  })
})

describe("saved", () => {
  const previous = entryOf(grant("rt-1"), {
    family: "family",
    generation: 7,
    fence: 9,
    intent: Option.some(intent),
    dead: Option.some(dead),
    serverWait: Option.some(serverWait)
  })
  const next = {
    fence: 0,
    intent: Option.none(),
    dead: Option.none(),
    serverWait: Option.none(),
    identity: Option.none()
  }

  it("where there was nothing: the first of its family", () => {
    const credentials = grant("rt-2")
    expect({ ...Entry.saved(Option.none(), credentials) }).toEqual({ ...Entry.first(credentials) })
  })

  it("the same refresh token: the next of its family, journal, mark and wait cleared", () => {
    const credentials = grant("rt-1", "at-2")
    expect({ ...Entry.saved(Option.some(previous), credentials) }).toEqual({
      ...next,
      credentials,
      family: "family",
      generation: 8
    })
  })

  it("the family's first refresh token again: the next of it", () => {
    const rotated = entryOf(grant("rt-5"), { family: fingerprintOf("rt-1"), generation: 5 })
    expect(Entry.saved(Option.some(rotated), grant("rt-1"))).toMatchObject({
      family: fingerprintOf("rt-1"),
      generation: 6
    })
  })

  it("another refresh token: the first of a new family", () => {
    const credentials = grant("rt-2")
    expect({ ...Entry.saved(Option.some(previous), credentials) }).toEqual({
      ...next,
      credentials,
      family: fingerprintOf("rt-2"),
      generation: 1
    })
  })

  it("a refresh token where there was none: the first of a new family", () => {
    expect(Entry.saved(Option.some(entryOf(grant(undefined))), grant("rt-1")).generation).toBe(1)
  })
})

describe("refreshed", () => {
  it("the next generation of the same family under the same fence, journal, mark and wait cleared", () => {
    const previous = entryOf(grant("rt-1"), {
      family: "family",
      generation: 7,
      fence: 9,
      intent: Option.some(intent),
      dead: Option.some(dead),
      serverWait: Option.some(serverWait)
    })
    const credentials = grant("rt-2")
    expect({ ...Entry.refreshed(previous, credentials) }).toEqual({
      credentials,
      family: "family",
      generation: 8,
      fence: 9,
      intent: Option.none(),
      dead: Option.none(),
      serverWait: Option.none(),
      identity: Option.none()
    })
  })
})

describe("the identity", () => {
  const previous = entryOf(grant("rt-1"), { identity: Option.some(bound) })
  const other = GrantIdentity.make({ ...identity, clientId: "other" })

  it("stays through refreshes and fences, and is set by bind", () => {
    expect(Entry.refreshed(previous, grant("rt-2")).identity).toEqual(Option.some(bound))
    expect(Entry.keepFence(previous, 9).identity).toEqual(Option.some(bound))
    expect(Entry.bind(previous, Option.some(other)).identity).toEqual(Option.some(other))
    expect(Entry.bind(previous, Option.none())).toBe(previous)
    expect(Entry.bind(previous, Option.some(bound))).toBe(previous)
  })

  it("is that of the login, where it is known; the same grant keeps its own where it is not", () => {
    const savedAs = (credentials: Credentials.Credentials, as?: GrantIdentity.GrantIdentity) =>
      Entry.saved(Option.some(previous), credentials, Option.fromNullable(as)).identity
    expect(savedAs(grant("rt-1", "at-2"))).toEqual(Option.some(bound))
    expect(savedAs(grant("rt-1", "at-2"), other)).toEqual(Option.some(other))
    expect(savedAs(grant("rt-9"))).toEqual(Option.none())
    expect(savedAs(grant("rt-9"), other)).toEqual(Option.some(other))
    expect(Entry.saved(Option.none(), grant("rt-1"), Option.some(bound)).identity).toEqual(Option.some(bound))
  })

  it("may have fields of a later version, which are passed over", () => {
    const later = { ...full, identity: { ...identity, tenant: "t" } }
    expect(Either.getOrThrow(read(later)).identity).toEqual(Option.some(bound))
  })

  it("is one object for all entries that have it", () => {
    const again = () => Option.getOrThrow(Either.getOrThrow(read(full)).identity)
    expect(again()).toBe(again())
    expect(again()).toBe(bound)
  })
})

describe("keepFence and passesFence", () => {
  it.each([
    [0, 0, 0, true],
    [0, 1, 1, true],
    [1, 0, 1, true],
    [4, 5, 5, false],
    [5, 5, 5, true],
    [6, 5, 6, true]
  ])("a fence of %d where %d was seen: kept %d, passes %s", (fence, seen, kept, passes) => {
    const entry = entryOf(grant("rt-1"), { fence, generation: 3 })
    expect({ ...Entry.keepFence(entry, seen) }).toEqual({ ...entry, fence: kept })
    expect(Entry.keepFence(entry, seen) === entry).toBe(fence === kept)
    expect(Entry.passesFence(entry, seen)).toBe(passes)
  })
})

describe("openIntent", () => {
  it.each([
    ["of its own refresh token", "rt-1", Option.some(intent), Option.some(intent)],
    ["of another, which was replaced since", "rt-2", Option.some(intent), Option.none()],
    ["none", "rt-1", Option.none(), Option.none()]
  ])("a note %s", (_, refreshToken, noted, seen) => {
    expect(openIntent(entryOf(grant(refreshToken), { intent: noted }))).toEqual(seen)
  })
})

describe("isRolledBack", () => {
  const seen = entryOf(grant("rt-5"), { family: "family", generation: 5 })
  it.each([
    ["an earlier generation", "family", 4, "rt-4", true],
    ["the first generation", "family", 1, "rt-1", true],
    ["the same generation, another token", "family", 5, "rt-x", false],
    ["a later generation", "family", 6, "rt-6", false],
    ["an earlier generation with the same refresh token", "family", 4, "rt-5", false],
    ["another family", "other", 4, "rt-4", false],
    ["written by another program", "family", 0, "rt-4", false]
  ])("%s", (_, family, generation, refreshToken, rolledBack) => {
    expect(Entry.isRolledBack(entryOf(grant(refreshToken), { family, generation }), seen)).toBe(rolledBack)
  })
})

describe("instantProblem", () => {
  const seconds = Option.some("is before 1974: it may be in seconds, not milliseconds")
  const micros = Option.some("is after the year 5138: it may be in microseconds, not milliseconds")
  it.each([
    ["milliseconds", now + 1, now, Option.none()],
    ["seconds", now / 1000, now, seconds],
    ["microseconds", now * 1000, now, micros],
    ["zero", 0, now, seconds],
    ["1 ms before the earliest", 99_999_999_999, now, seconds],
    ["the earliest", 100_000_000_000, now, Option.none()],
    ["the latest", 100_000_000_000_000, now, Option.none()],
    ["1 ms after the latest", 100_000_000_000_001, now, micros],
    ["no end", Infinity, now, micros],
    ["no beginning", -Infinity, now, micros],
    ["no number", Number.NaN, now, micros],
    ["little, by a clock at the epoch", 600_000, 0, Option.none()],
    ["little, by a clock 1 ms before the earliest", 600_000, 99_999_999_999, Option.none()],
    ["little, by a clock at the earliest", 600_000, 100_000_000_000, seconds],
    ["microseconds, by a clock at the epoch", now * 1000, 0, micros]
  ])("%s", (_, millis, clock, problem) => {
    expect(Entry.instantProblem(millis, clock)).toEqual(problem)
  })
})

const fingerprint = "0123456789ab" as Fingerprint.Fingerprint

/** A record with all there is. */
const full = {
  latchkey: 1,
  accessToken: "at-1",
  refreshToken: "rt-1",
  idToken: "id-1",
  tokenType: "Bearer",
  obtainedAt: now - 1000,
  serverTime: now - 1500,
  expiresAt: now + 1000,
  refreshAt: now + 500,
  scopes: ["a", "b"],
  accountId: "acct-1",
  extras: { tenant: "t", deep: { list: [1, null] } },
  family: "family",
  generation: 7,
  fence: 9,
  intent: { fingerprint, at: now, attempt: 2 },
  dead: { fingerprint, at: now, reason: "invalid_grant", rotationLost: true },
  serverWait: { at: now, until: now + 60_000 },
  identity
}

/** A record with no more than it must have. */
const least = {
  latchkey: 1,
  accessToken: "at-1",
  tokenType: "Bearer",
  scopes: [],
  family: "f",
  generation: 0
}

/** A full record in which some fields were replaced by any other value. */
const anyRecord = FC.dictionary(FC.constantFrom(...Object.keys(full)), FC.jsonValue(), { maxKeys: 3 }).map(
  (changes) => ({ ...full, ...changes })
)

const read = (json: unknown) => Entry.fromJson(json, now)

describe("fromJson and toJson", () => {
  it("a full record reads as it says, and is written as it was", () => {
    const entry = Either.getOrThrow(read(full))
    expect(entry).toBeInstanceOf(Entry.Entry)
    expect(entry.credentials).toBeInstanceOf(Credentials.Credentials)
    expect({ ...entry, credentials: { ...entry.credentials, extras: 0 } }).toEqual({
      credentials: {
        accessToken: Redacted.make("at-1"),
        refreshToken: Option.some(Redacted.make("rt-1")),
        idToken: Option.some(Redacted.make("id-1")),
        tokenType: "Bearer",
        obtainedAt: Option.some(now - 1000),
        serverTime: Option.some(now - 1500),
        expiresAt: Option.some(now + 1000),
        refreshAt: Option.some(now + 500),
        scopes: ["a", "b"],
        accountId: Option.some("acct-1"),
        extras: 0
      },
      family: "family",
      generation: 7,
      fence: 9,
      intent: Option.some(new Entry.Intent({ fingerprint, at: now, attempt: 2 })),
      dead: Option.some(
        new Entry.DeadGrant({
          fingerprint,
          at: now,
          reason: "invalid_grant",
          rotationLost: true
        })
      ),
      serverWait: Option.some(serverWait),
      identity: Option.some(bound)
    })
    expect(Redacted.value(entry.credentials.extras)).toEqual(full.extras)
    expect(Entry.toJson(entry)).toEqual(full)
  })

  it("the least record has nothing that it does not say", () => {
    const entry = Either.getOrThrow(read(least))
    expect(Redacted.value(entry.credentials.extras)).toEqual({})
    expect({ ...entry.credentials, extras: 0 }).toEqual({
      ...Credentials.make({ accessToken: "at-1" }),
      extras: 0
    })
    expect(entry).toMatchObject({ family: "f", generation: 0, fence: 0 })
    const optional = [entry.intent, entry.dead, entry.serverWait, entry.identity]
    for (const absent of optional) expect(absent).toEqual(Option.none())
    expect(Entry.toJson(entry)).toEqual({ ...least, extras: {}, fence: 0 })
  })

  it("keys that are not ours are passed over, the record's own format is written", () => {
    expect(Entry.toJson(Either.getOrThrow(read({ ...full, revision: "x", other: {} })))).toEqual(full)
    expect(Entry.toJson(Entry.first(grant("rt-1")))["latchkey"]).toBe(Entry.formatVersion)
  })

  Properties.prop(
    "what is written is read back the same",
    [anyEntry],
    ([entry]) => {
      const json = JSON.stringify(Entry.toJson(entry))
      const again = Either.getOrThrow(read(JSON.parse(json)))
      expect(JSON.stringify(Entry.toJson(again))).toBe(json)
      expect({ ...again, credentials: 0 }).toEqual({ ...entry, credentials: 0 })
      expect({ ...again.credentials, extras: 0 }).toEqual({ ...entry.credentials, extras: 0 })
    },
    runs(500)
  )

  it("extras of any depth and name survive, __proto__ too", () => {
    let deep: unknown = "bottom"
    for (let i = 0; i < 10_000; i++) deep = [deep]
    const extras = JSON.parse('{"__proto__":{"polluted":true},"constructor":1}') as Record<string, unknown>
    const entry = Either.getOrThrow(read({ ...full, extras: Object.assign(extras, { deep }) }))
    const kept = Redacted.value(entry.credentials.extras)
    expect(Object.keys(kept)).toEqual(["__proto__", "constructor", "deep"])
    expect(kept["polluted"]).toBeUndefined()
    expect(Object.keys(Entry.toJson(entry)["extras"] as object)).toEqual(["__proto__", "constructor", "deep"])
  })

  it("what cannot be stored is refused without a secret", () => {
    const write = () => Entry.toJson(Entry.first(grant("canary\n", "canary")))
    expect(write).toThrow(/control character|refreshToken/)
    try {
      write()
    } catch (error) {
      expect(inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error)).not.toContain("canary")
    }
  })
})

describe("fromJson, bad records", () => {
  const due = "is not valid here"
  const control = "has a control character or one outside ASCII"
  const without = (name: keyof typeof full) =>
    Object.fromEntries(Object.entries(full).filter(([key]) => key !== name))

  const bad: ReadonlyArray<readonly [name: string, json: unknown, path: string, problem: string]> = [
    ["null", null, "(the record)", due],
    ["undefined", undefined, "(the record)", due],
    ["a number", 5, "(the record)", due],
    ["a string", "canary", "(the record)", due],
    ["a list", [full], "(the record)", due],
    ["an empty object", {}, "latchkey", "is missing"],
    ["no format", without("latchkey"), "latchkey", "is missing"],
    ["an older format", { ...full, latchkey: 0 }, "latchkey", due],
    ["a format in words", { ...full, latchkey: "2" }, "latchkey", due],
    ["a format of null", { ...full, latchkey: null }, "latchkey", due],
    ["no access token", without("accessToken"), "accessToken", "is missing"],
    ["an access token of null", { ...full, accessToken: null }, "accessToken", "is null, not a string"],
    [
      "an access token that is a number",
      { ...full, accessToken: 5 },
      "accessToken",
      "is a number, not a string"
    ],
    ["a blank access token", { ...full, accessToken: "" }, "accessToken", "is blank"],
    ["an access token of spaces", { ...full, accessToken: "  " }, "accessToken", "is blank"],
    ["undefined in words", { ...full, accessToken: "undefined" }, "accessToken", 'is the word "undefined"'],
    ["LF in an access token", { ...full, accessToken: "canary\n" }, "accessToken", control],
    ["a blank refresh token", { ...full, refreshToken: "" }, "refreshToken", "is blank"],
    ["null in words", { ...full, refreshToken: "null" }, "refreshToken", 'is the word "null"'],
    ["a refresh token of null", { ...full, refreshToken: null }, "refreshToken", "is null, not a string"],
    ["NUL in an id token", { ...full, idToken: "canary\0" }, "idToken", control],
    ["no token type", without("tokenType"), "tokenType", "is missing"],
    ["an empty token type", { ...full, tokenType: "" }, "tokenType", due],
    ...[
      "Bearer\r\nX-Evil: 1",
      "canary type",
      "canary\u202e",
      "b\u00e9arer",
      "canary:x",
      "\u001b[2J",
      "x".repeat(101)
    ].map((tokenType): readonly [string, unknown, string, string] => [
      `the token type ${JSON.stringify(tokenType)} (F52)`,
      { ...full, tokenType },
      "tokenType",
      "is not a token type (RFC 9110 §5.6.2)"
    ]),
    ["a date in words", { ...full, obtainedAt: "canary" }, "obtainedAt", due],
    ["a negative instant", { ...full, obtainedAt: -1 }, "obtainedAt", due],
    ["an expiry in words", { ...full, expiresAt: "canary" }, "expiresAt", due],
    ["an expiry without end", { ...full, expiresAt: Infinity }, "expiresAt", due],
    ["an expiry that is NaN", { ...full, expiresAt: Number.NaN }, "expiresAt", due],
    ["a negative expiry", { ...full, expiresAt: -1 }, "expiresAt", due],
    ["no scopes", without("scopes"), "scopes", "is missing"],
    ["scopes in words", { ...full, scopes: "canary" }, "scopes", due],
    ["a scope that is a number", { ...full, scopes: ["canary", 5] }, "scopes.1", due],
    ["an empty account", { ...full, accountId: "" }, "accountId", due],
    ["extras in a list", { ...full, extras: ["canary"] }, "extras", due],
    ["extras of null", { ...full, extras: null }, "extras", due],
    ["extras in words", { ...full, extras: "canary" }, "extras", due],
    ["no family", without("family"), "family", "is missing"],
    ["an empty family", { ...full, family: "" }, "family", due],
    ["no generation", without("generation"), "generation", "is missing"],
    ["a negative generation", { ...full, generation: -1 }, "generation", due],
    ["half a generation", { ...full, generation: 0.5 }, "generation", due],
    ["a negative fence", { ...full, fence: -1 }, "fence", due],
    ["half a fence", { ...full, fence: 0.5 }, "fence", due],
    ["an empty journal", { ...full, intent: {} }, "intent.fingerprint", "is missing"],
    ["a journal in words", { ...full, intent: "canary" }, "intent", due],
    [
      "a journal of nothing",
      { ...full, intent: { ...full.intent, fingerprint: "" } },
      "intent.fingerprint",
      due
    ],
    ["a journal without a time", { ...full, intent: { ...full.intent, at: null } }, "intent.at", due],
    [
      "a journal of half an attempt",
      { ...full, intent: { ...full.intent, attempt: 0.5 } },
      "intent.attempt",
      due
    ],
    ["an empty mark", { ...full, dead: {} }, "dead.fingerprint", "is missing"],
    ["a mark of nothing", { ...full, dead: { ...full.dead, fingerprint: "" } }, "dead.fingerprint", due],
    ["a mark without a time", { ...full, dead: { ...full.dead, at: -1 } }, "dead.at", due],
    ["a mark without a reason", { ...full, dead: { ...full.dead, reason: 5 } }, "dead.reason", due],
    [
      "a mark in doubt",
      { ...full, dead: { ...full.dead, rotationLost: "canary" } },
      "dead.rotationLost",
      due
    ],
    ["a wait without an end", { ...full, serverWait: { at: now } }, "serverWait.until", "is missing"],
    ["an issuer that is none", { ...full, identity: { ...identity, issuer: 7 } }, "identity.issuer", due],
    ["an identity without its kind", { ...full, identity: {} }, "identity.grantType", "is missing"],
    ["a wait that nobody told", { ...full, serverWait: { at: "canary", until: now } }, "serverWait.at", due]
  ]

  it.each(bad)("%s: named by its place, never quoted", (_, json, path, problem) => {
    const found = Either.getOrThrow(Either.flip(read(json)))
    expect({ ...found }).toEqual({ _tag: "RecordProblem", reason: "Malformed", path, problem })
    expect(JSON.stringify(found)).not.toContain("canary")
  })

  it.each([
    [2, "has format 2, and this version reads formats up to 1: upgrade @latchkey"],
    [1.5, "has format 1.5, and this version reads formats up to 1: upgrade @latchkey"],
    [Infinity, "has format Infinity, and this version reads formats up to 1: upgrade @latchkey"]
  ])("a newer format, %d, is told apart from a broken one", (latchkey, problem) => {
    for (const json of [{ ...full, latchkey }, { latchkey }]) {
      expect({ ...Either.getOrThrow(Either.flip(read(json))) }).toEqual({
        _tag: "RecordProblem",
        reason: "NewerFormat",
        path: "latchkey",
        problem
      })
    }
  })

  it.each([
    ["seconds", now / 1000, "is before 1974: it may be in seconds, not milliseconds"],
    ["microseconds", now * 1000, "is after the year 5138: it may be in microseconds, not milliseconds"]
  ])("an expiry in %s is told apart from one that has passed", (_, expiresAt, problem) => {
    expect({ ...Either.getOrThrow(Either.flip(read({ ...full, expiresAt }))) }).toEqual({
      _tag: "RecordProblem",
      reason: "WrongUnit",
      path: "expiresAt",
      problem
    })
  })

  it("an expiry near the epoch is right by a clock that is there too", () => {
    expect(Either.isRight(Entry.fromJson({ ...full, expiresAt: 600_000 }, 0))).toBe(true)
  })

  Properties.prop(
    "any JSON value is an entry or a problem with a place",
    [FC.oneof(FC.jsonValue(), anyRecord)],
    ([json]) => {
      const result = read(json)
      if (Either.isLeft(result)) {
        expect(result.left.path).not.toBe("")
        expect(result.left.problem).not.toBe("")
      } else {
        expect(Either.isRight(read(Entry.toJson(result.right)))).toBe(true)
      }
    },
    runs(1000)
  )
})
