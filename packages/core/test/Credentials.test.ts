import { inspect } from "node:util"
import { addEqualityTesters, describe, expect, it } from "@effect/vitest"
import { Either, FastCheck as FC, Option, Redacted } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { credentials as anyCredentials, runs, token } from "./support/Arbitraries.js"
import * as Properties from "./support/Properties.js"

// Two Redacted are equal when their secrets are.
addEqualityTesters()

const now = 1_700_000_000_000

/** All fields as plain values, secrets too. */
const plain = ({ refreshAt, serverTime, ...c }: Credentials.Credentials) => ({
  ...c,
  ...(Option.isSome(serverTime) && { serverTime: serverTime.value }),
  ...(Option.isSome(refreshAt) && { refreshAt: refreshAt.value }),
  accessToken: Redacted.value(c.accessToken),
  refreshToken: Option.getOrNull(Option.map(c.refreshToken, Redacted.value)),
  idToken: Option.getOrNull(Option.map(c.idToken, Redacted.value)),
  obtainedAt: Option.getOrNull(c.obtainedAt),
  expiresAt: Option.getOrNull(c.expiresAt),
  accountId: Option.getOrNull(c.accountId),
  extras: Redacted.value(c.extras)
})

describe("make", () => {
  it("keeps what is given, with its secrets redacted", () => {
    const credentials = Credentials.make({
      accessToken: "canary-access",
      refreshToken: "canary-refresh",
      idToken: Redacted.make("canary-id"),
      tokenType: "DPoP",
      obtainedAt: now,
      expiresAt: now + 1,
      scopes: ["a", "b"],
      accountId: "acct-1",
      extras: { secret: "canary-extra" }
    })
    expect(plain(credentials)).toEqual({
      accessToken: "canary-access",
      refreshToken: "canary-refresh",
      idToken: "canary-id",
      tokenType: "DPoP",
      obtainedAt: now,
      expiresAt: now + 1,
      scopes: ["a", "b"],
      accountId: "acct-1",
      extras: { secret: "canary-extra" }
    })
    for (const text of [JSON.stringify(credentials), inspect(credentials, { depth: 9 }), `${credentials}`]) {
      expect(text).not.toContain("canary")
    }
  })

  it("leaves out what is not", () => {
    expect(plain(Credentials.make({ accessToken: "at" }))).toEqual({
      accessToken: "at",
      refreshToken: null,
      idToken: null,
      tokenType: "Bearer",
      obtainedAt: null,
      expiresAt: null,
      scopes: [],
      accountId: null,
      extras: {}
    })
  })

  it("takes an empty token and a time that is no number for absent, and zero for what it is", () => {
    const credentials = Credentials.make({
      accessToken: "at",
      refreshToken: "",
      idToken: Redacted.make(""),
      obtainedAt: 0,
      expiresAt: Number.NaN
    })
    expect(plain(credentials)).toMatchObject({
      refreshToken: null,
      idToken: null,
      obtainedAt: 0,
      expiresAt: null
    })
    expect(Credentials.make({ accessToken: "at", obtainedAt: Number.NaN }).obtainedAt).toEqual(Option.none())
  })
})

describe("share", () => {
  const fieldsOf = (scopes: ReadonlyArray<string>, tokenType: string, extras?: Credentials.Extras) =>
    Credentials.make({ accessToken: "at", scopes, tokenType, extras })

  it("has the same values", () => {
    for (const fields of [
      fieldsOf(["a", "b"], "bearer", { x: 1 }),
      fieldsOf([], "Bearer"),
      fieldsOf(["a b"], "DPoP")
    ])
      expect(Credentials.share(fields)).toEqual({ ...fields })
  })

  it("holds once what many records have alike, and nothing that they have not", () => {
    const [one, two] = [
      ["a", "b"],
      ["a", "b"]
    ].map((scopes) => Credentials.share(fieldsOf(scopes, "Bearer")))
    expect(one!.scopes).toBe(two!.scopes)
    expect(one!.extras).toBe(two!.extras)
    expect(Redacted.value(one!.extras)).toEqual({})
    expect(Object.isFrozen(Redacted.value(one!.extras))).toBe(true)
    const [more, other] = [{ x: 1 }, { x: 2 }].map((x) => Credentials.share(fieldsOf(["a b"], "Bearer", x)))
    expect(more!.scopes).not.toBe(one!.scopes)
    expect([more!, other!].map((c) => Redacted.value(c.extras))).toEqual([{ x: 1 }, { x: 2 }])
  })

  it("remembers a thousand lists of scopes and no more", () => {
    const shared = (name: string) => {
      const [one, two] = [[name], [name]].map(
        (scopes) => Credentials.share(fieldsOf(scopes, "Bearer")).scopes
      )
      return one === two
    }
    const kept = Array.from({ length: 1100 }, (_, i) => shared(`scope-${i}`))
    expect(kept[900]).toBe(true)
    expect(kept.slice(1000)).toEqual(Array.from({ length: 100 }, () => false))
  })
})

describe("lifetime", () => {
  it.each([
    ["an hour", now, now + 3_600_000, Option.some(3_600_000)],
    ["1 ms", now, now + 1, Option.some(1)],
    ["none, where it ends as it begins", now, now, Option.none()],
    ["none, where it ends before it begins", now, now - 1, Option.none()],
    ["none, without a beginning", undefined, now, Option.none()],
    ["none, without an end", now, undefined, Option.none()],
    ["endless", now, Infinity, Option.some(Infinity)],
    ["none, where both ends are infinite", Infinity, Infinity, Option.none()]
  ])("%s", (_, obtainedAt, expiresAt, lifetime) => {
    expect(Credentials.lifetime(Credentials.make({ accessToken: "at", obtainedAt, expiresAt }))).toEqual(
      lifetime
    )
  })
})

describe("sameAccessToken and sameRefreshToken", () => {
  const make = (accessToken: string, refreshToken?: string) => Credentials.make({ accessToken, refreshToken })
  it.each([
    ["both alike", make("a", "r"), make("a", "r"), true, true],
    ["another access token", make("a", "r"), make("b", "r"), false, true],
    ["another refresh token", make("a", "r"), make("a", "s"), true, false],
    ["a refresh token in the one", make("a", "r"), make("a"), true, false],
    ["a refresh token in the other", make("a"), make("a", "r"), true, false],
    ["no refresh token in both", make("a"), make("b"), false, true]
  ])("%s", (_, a, b, sameAccess, sameRefresh) => {
    expect(Credentials.sameAccessToken(a, b)).toBe(sameAccess)
    expect(Credentials.sameRefreshToken(a, b)).toBe(sameRefresh)
  })
})

describe("tokenProblem", () => {
  it.each([
    ["a"],
    ["~"],
    ["a b"],
    [" a "],
    ["eyJhbGciOi.J9_-.~+/="],
    ["Undefined"],
    ["NULL"],
    ["null."],
    ["an undefined"]
  ])("none with %j", (value) => {
    expect(Credentials.tokenProblem(value)).toEqual(Option.none())
  })

  it.each([
    ["", "is blank"],
    ["   ", "is blank"],
    ["\n", "is blank"],
    ["undefined", 'is the word "undefined"'],
    ["null", 'is the word "null"'],
    ["a\r\nb", "has a control character or one outside ASCII"],
    ["a\0", "has a control character or one outside ASCII"],
    ["\u001fa", "has a control character or one outside ASCII"],
    ["a\u007f", "has a control character or one outside ASCII"],
    ["tökén", "has a control character or one outside ASCII"],
    ["\u00a0", "is blank"],
    [undefined, "is missing, not a string"],
    [null, "is null, not a string"],
    [["a"], "is an array, not a string"],
    [{ a: 1 }, "is an object, not a string"],
    [5, "is a number, not a string"],
    [true, "is a boolean, not a string"]
  ])("with %j: %s", (value, problem) => {
    expect(Credentials.tokenProblem(value)).toEqual(Option.some(problem))
  })
})

const context: Credentials.ResponseContext = { requestedAt: now }

/** A response that has all it needs. */
const good = {
  access_token: "at-2",
  refresh_token: "rt-2",
  id_token: "id-2",
  token_type: "Bearer",
  expires_in: 3600,
  scope: "b c"
}

const previous = Credentials.make({
  accessToken: "at-1",
  refreshToken: "rt-1",
  idToken: "id-1",
  tokenType: "Bearer",
  obtainedAt: now - 1000,
  expiresAt: now,
  scopes: ["a"],
  accountId: "acct-1",
  extras: { kept: 1, changed: "before" }
})

const merged = (
  response: Credentials.Extras,
  before: Option.Option<Credentials.Credentials> = Option.some(previous),
  given: Partial<Credentials.ResponseContext> = {}
) => plain(Either.getOrThrow(Credentials.fromResponse(response, before, { ...context, ...given })))

const refused = (
  response: Credentials.Extras,
  before: Option.Option<Credentials.Credentials> = Option.some(previous),
  given: Partial<Credentials.ResponseContext> = {}
) => Either.getOrThrow(Either.flip(Credentials.fromResponse(response, before, { ...context, ...given })))

describe("fromResponse, the merge rule", () => {
  it("the first response is taken as it is", () => {
    expect(merged({ ...good, tenant: "t" }, Option.none())).toEqual({
      accessToken: "at-2",
      refreshToken: "rt-2",
      idToken: "id-2",
      tokenType: "Bearer",
      obtainedAt: now,
      expiresAt: now + 3_600_000,
      scopes: ["b", "c"],
      accountId: null,
      extras: { tenant: "t" }
    })
  })

  it("the least response is an access token and its type; nothing else is invented", () => {
    expect(merged({ access_token: "at-2", token_type: "bearer" }, Option.none())).toEqual({
      accessToken: "at-2",
      refreshToken: null,
      idToken: null,
      tokenType: "bearer",
      obtainedAt: now,
      expiresAt: null,
      scopes: [],
      accountId: null,
      extras: {}
    })
  })

  it("what is absent stays as it was, but for the lifetime, which is then unknown", () => {
    expect(merged({ access_token: "at-2", token_type: "Bearer" })).toEqual({
      ...plain(previous),
      accessToken: "at-2",
      obtainedAt: now,
      expiresAt: null
    })
  })

  it.each([[""], [null]])("a refresh token, id token or scope of %j keeps the previous one", (empty) => {
    const response = { ...good, refresh_token: empty, id_token: empty, scope: empty }
    expect(merged(response)).toMatchObject({ refreshToken: "rt-1", idToken: "id-1", scopes: ["a"] })
    expect(merged(response, Option.none())).toMatchObject({ refreshToken: null, idToken: null, scopes: [] })
  })

  it("fields that the response only inherits are absent", () => {
    expect(refused(Object.create(good) as Credentials.Extras)).toMatchObject({
      field: "access_token",
      problem: "is missing, not a string"
    })
  })

  it.each([
    ["b", ["b"]],
    ["b  c\td", ["b", "c", "d"]],
    [" b ", ["b"]],
    ["   ", ["a"]]
  ])("the scope %j is read as a list", (scope, scopes) => {
    expect(merged({ ...good, scope }).scopes).toEqual(scopes)
  })

  it("unknown fields of both survive, the response's winning; known ones are not among them", () => {
    expect(merged({ ...good, changed: "after", added: { deep: [1] } }).extras).toEqual({
      kept: 1,
      changed: "after",
      added: { deep: [1] }
    })
  })

  it("unknown fields that could not be stored are left out, and no token with them", () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : { in: nested(levels - 1) })
    const hostile = JSON.parse(JSON.stringify(good).replace("{", '{"__proto__":{"polluted":true},')) as object
    expect(Object.hasOwn(hostile, "__proto__")).toBe(true)
    const { extras } = merged({
      ...(JSON.parse('{"inner":{"__proto__":1},"beside":{"fine":1,"__proto__":1}}') as object),
      ...hostile,
      __proto__: {},
      deepest: nested(64),
      tooDeep: nested(65),
      tooDeepBeside: { fine: 1, deep: nested(64) }
    } as Credentials.Extras)
    expect(Object.keys(extras).sort()).toEqual(["changed", "deepest", "kept"])
    expect(Object.keys(merged(hostile as Credentials.Extras).extras)).not.toContain("__proto__")
  })

  it("unknown fields do not grow without end: too large ones leave what was kept", () => {
    const room = 262_144 - JSON.stringify({ kept: 1, changed: "before", big: "" }).length
    expect(merged({ ...good, big: "x".repeat(room) }).extras["big"]).toHaveLength(room)
    expect(merged({ ...good, big: "x".repeat(room + 1) }).extras).toEqual({ kept: 1, changed: "before" })
    const first = Credentials.fromResponse({ ...good, big: "x".repeat(262_144) }, Option.none(), {
      requestedAt: now
    })
    expect(Either.map(first, ({ extras }) => Redacted.value(extras))).toEqual(Either.right({}))
  })

  it("a token longer than any header can carry is refused", () => {
    expect(Credentials.tokenProblem("x".repeat(131_072))).toEqual(Option.none())
    expect(Credentials.tokenProblem("x".repeat(131_073))).toEqual(
      Option.some("is longer than any header can carry")
    )
  })

  it.each([
    [1500, { refreshAt: now + 1_500_000 }],
    ["1500", { refreshAt: now + 1_500_000 }],
    ["soon", {}],
    [-1, {}],
    [undefined, {}]
  ])("a renewal wanted in %j s is a wish, and refuses no token", (refresh_in, asked) => {
    expect(merged({ ...good, refresh_in })).toEqual({ ...merged(good), ...asked })
  })

  it.each([
    ["3600", 3_600_000],
    [3600, 3_600_000],
    [1, 1000],
    [0.5, 500],
    [0, 0],
    ["0", 0],
    [1_000_000_000, 1e12],
    ["1000000000", 1e12]
  ])("a lifetime of %j s counts from before the request: %d ms", (expires_in, millis) => {
    expect(merged({ ...good, expires_in })).toMatchObject({ obtainedAt: now, expiresAt: now + millis })
  })

  it.each([
    [60_000, 60_000],
    [900_000, 900_000],
    [900_001, 900_000],
    [Infinity, 900_000],
    [0, 0],
    [-60_000, 0],
    [undefined, 0]
  ])("where the server's clock is behind by %d ms, it counts from %d ms earlier", (serverBehind, earlier) => {
    const behind = serverBehind === undefined ? {} : { serverBehind }
    const counted = (response: Credentials.Extras) =>
      plain(Either.getOrThrow(Credentials.fromResponse(response, Option.none(), { ...context, ...behind })))
    expect(counted(good)).toMatchObject({ obtainedAt: now - earlier, expiresAt: now - earlier + 3_600_000 })
    expect(counted({ ...good, expires_in: undefined })).toMatchObject({ obtainedAt: now, expiresAt: null })
  })

  it.each([["bearer"], ["BEARER"], ["DPoP"], ["dpop"]])(
    "the token type %j is kept as it came",
    (token_type) => {
      expect(merged({ ...good, token_type }).tokenType).toBe(token_type)
    }
  )

  it("the caller says which token types it can use", () => {
    const tokenTypes = ["MAC"]
    expect(merged({ ...good, token_type: "mac" }, Option.none(), { tokenTypes }).tokenType).toBe("mac")
    expect(refused(good, Option.none(), { tokenTypes }).field).toBe("token_type")
  })

  it("a grant bound with DPoP stays so, whatever the case", () => {
    const bound = Option.some(Credentials.make({ accessToken: "at-1", tokenType: "DPOP" }))
    expect(merged({ ...good, token_type: "dPoP" }, bound).tokenType).toBe("dPoP")
    expect(refused(good, bound)).toMatchObject({
      field: "token_type",
      problem: "is not DPoP, although the request had a DPoP proof (RFC 9449 §5)"
    })
  })
})

describe("fromResponse, the account", () => {
  const naming = (account: string | undefined) => ({ accountId: () => Option.fromNullable(account) })
  const nameless = Option.some(Credentials.make({ accessToken: "at-1" }))

  it.each([
    ["the same as before", "acct-1", Option.some(previous), "acct-1"],
    ["none: as before", undefined, Option.some(previous), "acct-1"],
    ["empty: as before", "", Option.some(previous), "acct-1"],
    ["named for the first time", "acct-2", nameless, "acct-2"],
    ["none, as before", undefined, nameless, null],
    ["empty, and none before", "", nameless, null],
    ["a first response's", "acct-2", Option.none(), "acct-2"]
  ])("%s", (_, account, before, is) => {
    expect(merged(good, before, naming(account)).accountId).toBe(is)
  })

  it("is asked of the response as it came", () => {
    const accountId = (response: Credentials.Extras) => Option.some(String(response["sub"]))
    expect(merged({ ...good, sub: "acct-1" }, Option.some(previous), { accountId }).accountId).toBe("acct-1")
  })

  it("of another is refused, with the new refresh token salvaged", () => {
    const problem = refused(good, Option.some(previous), naming("acct-2"))
    expect(problem).toMatchObject({
      field: "account",
      problem: "belongs to another account than the grant that was refreshed"
    })
    expect(plain(Option.getOrThrow(problem.salvaged))).toEqual({ ...plain(previous), refreshToken: "rt-2" })
  })
})

describe("fromResponse, what is malformed beside a usable token (F9)", () => {
  const notNumber = "is not a number, not a number of seconds"
  const absurdly = "is too large: it may be an absolute time, or in the wrong unit"
  const notText = "has a control character or one outside ASCII"

  const lifetimes: ReadonlyArray<readonly [value: unknown, problem: string]> = [
    ["soon", notNumber],
    ["3600abc", notNumber],
    ["abc3600", notNumber],
    ["", notNumber],
    ["9".repeat(13), notNumber],
    ["-1", notNumber],
    ["1e3", notNumber],
    [".5", notNumber],
    [-1, "is negative"],
    [-1e-9, "is negative"],
    ["1700003600", absurdly],
    ["1700003600.5", absurdly],
    [1_700_003_600, absurdly],
    [1_700_003_600_000, absurdly],
    [1_000_000_001, absurdly],
    [1e308, absurdly],
    [Infinity, absurdly],
    [Number.NaN, absurdly],
    [null, "is null, not a number of seconds"],
    [true, "is a boolean, not a number of seconds"],
    [[3600], "is an array, not a number of seconds"],
    [{ seconds: 3600 }, "is an object, not a number of seconds"]
  ]
  const used = (response: Credentials.Extras) => {
    const credentials = Either.getOrThrow(Credentials.fromResponse(response, Option.some(previous), context))
    const warnings = Credentials.warnings(credentials)
    expect(JSON.stringify(warnings)).not.toContain("canary")
    return { ...plain(credentials), warnings }
  }

  it.each(lifetimes)("a lifetime of %j is unknown, and the tokens are used", (expires_in, problem) => {
    expect(used({ ...good, expires_in })).toEqual({
      ...plain(Either.getOrThrow(Credentials.fromResponse(good, Option.some(previous), context))),
      expiresAt: null,
      warnings: [{ field: "expires_in", problem: `${problem}: the lifetime is unknown` }]
    })
    expect(used({ ...good, refresh_in: expires_in })).toMatchObject({
      expiresAt: now + 3_600_000,
      warnings: [{ field: "refresh_in", problem }]
    })
  })

  it.each([
    ["3600.0", 3_600_000],
    ["3.6", 3600],
    [3599.9, 3_599_900],
    ["0", 0],
    [0, 0]
  ])("a lifetime of %j is sensible", (expires_in, millis) => {
    expect(used({ ...good, expires_in })).toMatchObject({ expiresAt: now + millis, warnings: [] })
  })

  it.each([
    ["canary\n", notText],
    [{}, "is an object, not a string"],
    [" ", "is blank"],
    [7, "is a number, not a string"]
  ])("an id token %j is as if absent", (id_token, problem) => {
    expect(used({ ...good, id_token })).toMatchObject({
      accessToken: "at-2",
      refreshToken: "rt-2",
      idToken: "id-1",
      warnings: [{ field: "id_token", problem }]
    })
  })

  it.each([
    [0, "is a number, not a string"],
    [{ canary: 1 }, "is an object, not a string"],
    [["b", 7], "is an array of other things, not a string"]
  ])("a scope %j is as if absent", (scope, problem) => {
    expect(used({ ...good, scope })).toMatchObject({ scopes: ["a"], warnings: [{ field: "scope", problem }] })
  })

  it.each([[["b", "c"]], [["b c"]]])("a scope that is the list %j is read as words in a row", (scope) => {
    expect(used({ ...good, scope })).toMatchObject({ scopes: ["b", "c"], warnings: [] })
  })

  it("warns of all of them, and keeps warning through what is made of the credentials", () => {
    const bad = { ...good, expires_in: null, refresh_in: "x", id_token: 5, scope: 5 }
    const credentials = Either.getOrThrow(Credentials.fromResponse(bad, Option.none(), context))
    const changed = new Credentials.Credentials({ ...credentials, scopes: ["z"] })
    expect(Credentials.warnings(changed).map(({ field }) => field)).toEqual([
      "expires_in",
      "refresh_in",
      "id_token",
      "scope"
    ])
  })
})

describe("fromResponse, bad responses", () => {
  const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name))
  const notUnderstood = "is not one that this client understands (RFC 6749 §7.1)"
  const notText = "has a control character or one outside ASCII"
  const bad: ReadonlyArray<readonly [name: string, response: object, field: string, problem: string]> = [
    ["no access token", without("access_token"), "access_token", "is missing, not a string"],
    ["an access token of null", { ...good, access_token: null }, "access_token", "is null, not a string"],
    [
      "an access token that is a number",
      { ...good, access_token: 5 },
      "access_token",
      "is a number, not a string"
    ],
    ["an empty access token", { ...good, access_token: "" }, "access_token", "is blank"],
    ["a blank access token", { ...good, access_token: " " }, "access_token", "is blank"],
    ["undefined in words", { ...good, access_token: "undefined" }, "access_token", 'is the word "undefined"'],
    ["CR and LF in the access token", { ...good, access_token: "canary\r\nX: y" }, "access_token", notText],
    ["NUL in the access token", { ...good, access_token: "canary\0" }, "access_token", notText],
    ["no token type", without("token_type"), "token_type", "is missing, not a string"],
    ["a token type of null", { ...good, token_type: null }, "token_type", "is null, not a string"],
    ["an empty token type", { ...good, token_type: "" }, "token_type", "is blank"],
    ["a token type that is a number", { ...good, token_type: 0 }, "token_type", "is a number, not a string"],
    ["a token type not understood", { ...good, token_type: "canary" }, "token_type", notUnderstood],
    [
      "an error in a 200",
      { error: "canary", refresh_token: "rt-2" },
      "access_token",
      "is missing, not a string"
    ],
    ["nothing but the refresh token", { refresh_token: "rt-2" }, "access_token", "is missing, not a string"]
  ]

  it.each(bad)(
    "%s: refused by name, never by value, the new refresh token salvaged",
    (_, response, field, problem) => {
      const found = refused(response as Credentials.Extras)
      expect({ ...found, salvaged: 0 }).toEqual({ _tag: "ResponseProblem", field, problem, salvaged: 0 })
      expect(plain(Option.getOrThrow(found.salvaged))).toEqual({ ...plain(previous), refreshToken: "rt-2" })
      expect(JSON.stringify(found)).not.toContain("canary")
    }
  )

  it.each([
    ["that is a number", 5, "is a number, not a string"],
    ["that is blank", "  ", "is blank"],
    ["that is a word", "null", 'is the word "null"'],
    ["with LF", "canary\n", notText]
  ])("a refresh token %s: refused, and nothing to salvage", (_, refresh_token, problem) => {
    const found = refused({ ...good, refresh_token })
    expect({ field: found.field, problem: found.problem }).toEqual({ field: "refresh_token", problem })
    expect(found.salvaged).toEqual(Option.none())
  })

  it.each([
    ["absent", without("refresh_token")],
    ["empty", { ...good, refresh_token: "" }],
    ["null", { ...good, refresh_token: null }]
  ])(
    "nothing is salvaged where the refresh token is %s: the previous one is not spent for it",
    (_, response) => {
      expect(refused({ ...response, token_type: 0 }).salvaged).toEqual(Option.none())
    }
  )

  it("nothing is salvaged where there were no credentials to keep it with", () => {
    expect(refused({ ...good, token_type: 0 }, Option.none()).salvaged).toEqual(Option.none())
  })
})

/** Mostly sound, so that each field's turn to be odd comes alone too. */
const mostly = <A>(sound: FC.Arbitrary<A>) =>
  FC.oneof({ weight: 6, arbitrary: sound }, { weight: 1, arbitrary: FC.jsonValue() })

const anyResponse: FC.Arbitrary<Credentials.Extras> = FC.tuple(
  FC.dictionary(FC.string(), FC.jsonValue(), { maxKeys: 3 }),
  FC.record(
    {
      access_token: mostly(token),
      id_token: mostly(token),
      token_type: mostly(FC.constantFrom("Bearer", "DPoP", "bearer", "mac")),
      expires_in: mostly(FC.oneof(FC.integer({ min: -1 }), FC.constantFrom("3600", "soon", 1e308))),
      scope: mostly(FC.string()),
      error: FC.jsonValue()
    },
    { requiredKeys: ["access_token", "token_type"] }
  )
).map(([extras, fields]) => ({ ...extras, ...fields }))

const anyContext = FC.record({
  requestedAt: FC.constant(now),
  accountId: FC.constantFrom(
    Option.none(),
    Option.some(""),
    Option.some("acct-1"),
    Option.some("acct-2")
  ).map((account) => () => account)
})

describe("fromResponse, always", () => {
  Properties.prop(
    "a usable new refresh token is never lost: it is in the credentials, or salvaged with the previous ones",
    { response: anyResponse, refreshToken: token, before: anyCredentials, context: anyContext },
    ({ before, context, refreshToken, response }) => {
      const result = Credentials.fromResponse(
        { ...response, refresh_token: refreshToken },
        Option.some(before),
        context
      )
      const kept = Either.match(result, {
        onLeft: (problem) => Option.getOrThrow(problem.salvaged),
        onRight: (credentials) => credentials
      })
      expect(kept.refreshToken).toEqual(Option.some(Redacted.make(refreshToken)))
      if (Either.isLeft(result)) {
        expect(plain(kept)).toEqual({ ...plain(before), refreshToken })
      }
      // And storage takes it: what cannot be written would be lost as well.
      const read = Entry.fromJson(JSON.parse(JSON.stringify(Entry.toJson(Entry.first(kept)))), now)
      expect(Either.getOrThrow(read).credentials.refreshToken).toEqual(kept.refreshToken)
    },
    runs(2000)
  )

  Properties.prop(
    "any object gives credentials without NaN or a problem with a name",
    {
      response: anyResponse,
      before: FC.option(anyCredentials).map(Option.fromNullable),
      context: anyContext
    },
    ({ before, context, response }) => {
      const result = Credentials.fromResponse(response, before, context)
      if (Either.isRight(result)) {
        expect(result.right.obtainedAt).toEqual(Option.some(now))
        const expiresAt = Option.getOrElse(result.right.expiresAt, () => now)
        expect(expiresAt).toBeGreaterThanOrEqual(now)
        expect(expiresAt).toBeLessThanOrEqual(now + 1e12)
        expect(Option.isNone(result.right.refreshToken)).toBe(
          Option.isNone(Option.flatMap(before, (b) => b.refreshToken))
        )
      } else {
        expect(["access_token", "id_token", "token_type", "expires_in", "scope", "account"]).toContain(
          result.left.field
        )
        expect(result.left.problem).not.toBe("")
      }
    },
    runs(1000)
  )
})

describe("what a refresher that reads its response by itself adds", () => {
  const plain = () => Credentials.make({ accessToken: "at", obtainedAt: 7_200_000, serverTime: 0 })

  it("warnings go with the access token", () => {
    const problem = { field: "expires_in", problem: "is no number" }
    expect(Credentials.warnings(Credentials.withWarnings(plain(), []))).toEqual([])
    expect(Credentials.warnings(Credentials.withWarnings(plain(), [problem]))).toEqual([problem])
  })

  it("an expiry by the server's clock is moved where the clocks are apart", () => {
    expect(Credentials.byOurClock(1000, plain())).toBe(7_201_000)
    expect(Credentials.byOurClock(1000, { ...plain(), serverTime: Option.some(7_199_000) })).toBe(1000)
    expect(Credentials.byOurClock(1000, { ...plain(), serverTime: Option.none() })).toBe(1000)
  })
})
