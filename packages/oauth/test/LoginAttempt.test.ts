/** What a web login is made of: its record, its addresses, its cookies, and the headers of its requests. */
import { describe, expect, it } from "@effect/vitest"
import { LoginAttempt, ReturnAddress } from "@latchkey/oauth"
import { Either, FastCheck as fc, Option, Redacted } from "effect"
import { inspect } from "node:util"
import * as Properties from "../../core/test/support/Properties.js"
import * as BrowserRequest from "../src/internal/browserRequest.js"
import * as LoginCookie from "../src/internal/loginCookie.js"

const state = "s".repeat(43)
const verifier = "canary-verifier".padEnd(43, "v")

const attempt = (over: Partial<LoginAttempt.LoginAttempt> = {}) =>
  new LoginAttempt.LoginAttempt({
    issuer: Option.some("https://id.example.com"),
    tokenEndpoint: Option.some("https://id.example.com/token"),
    clientId: "app",
    state: Redacted.make(state),
    nonce: Option.some(Redacted.make("n".repeat(43))),
    verifier: Redacted.make(verifier),
    dpopKey: Option.none(),
    redirectUri: "https://app.example.com/callback",
    scopes: ["openid"],
    resources: [],
    maxAge: Option.none(),
    returnTo: Option.some("/inbox?x=1#y"),
    account: Option.none(),
    expectedAccount: Option.none(),
    replaces: Option.none(),
    session: Option.none(),
    createdAt: 1000,
    expiresAt: 601_000,
    ...over
  })

const json = (over: Record<string, unknown> = {}) =>
  Redacted.make(
    JSON.stringify({ ...(JSON.parse(Redacted.value(LoginAttempt.toJson(attempt()))) as object), ...over })
  )

describe("the record of a login", () => {
  const optional = fc.option(fc.string({ minLength: 1 })).map(Option.fromNullable)
  const random = fc.stringMatching(/^[\w-]{43}$/)
  Properties.prop(
    "is the same after its JSON",
    {
      issuer: optional,
      account: optional,
      nonce: fc.option(random),
      scopes: fc.array(fc.string()),
      createdAt: fc.integer({ min: 0, max: 1e15 }),
      lifetime: fc.integer({ min: 1, max: 1e9 }),
      jwk: fc.option(fc.record({ kty: fc.constant("EC"), d: fc.string() }))
    },
    ({ account, createdAt, issuer, jwk, lifetime, nonce, scopes }) => {
      const one = attempt({
        ...{ account, createdAt, issuer, scopes },
        nonce: Option.map(Option.fromNullable(nonce), Redacted.make),
        dpopKey: Option.map(Option.fromNullable(jwk), Redacted.make),
        expiresAt: createdAt + lifetime
      })
      const read = Either.getOrThrow(LoginAttempt.fromJson(LoginAttempt.toJson(one)))
      expect(Redacted.value(LoginAttempt.toJson(read))).toBe(Redacted.value(LoginAttempt.toJson(one)))
      expect(read.expiresAt).toBe(one.expiresAt)
    }
  )

  it.each<readonly [string, Redacted.Redacted]>([
    ["no JSON", Redacted.make("{")],
    ["no object", Redacted.make("null")],
    ["an unknown field", json({ more: 1 })],
    ["a later format", json({ format: 2 })],
    ["a missing field", json({ clientId: undefined })],
    ["a short state", json({ state: "s" })],
    ["a short nonce", json({ nonce: "" })],
    ["a short verifier", json({ verifier: "canary" })],
    ["a return address elsewhere", json({ returnTo: "//evil.example" })],
    ["a return address that is not in its normal form", json({ returnTo: "/a/../b" })],
    ["a redirect URI that is none", json({ redirectUri: "callback" })],
    ["a session that is no digest", json({ session: "me" })],
    ["a blank account", json({ account: "" })],
    ["a blank expected account", json({ expectedAccount: "" })],
    ["no fingerprint of a grant", json({ replaces: "rt-secret" })],
    ["a key that is none", json({ dpopKey: "{}" })],
    ["a time that is none", json({ expiresAt: "soon" })],
    ["an end before its beginning", json({ expiresAt: 1000 })]
  ])("is refused with %s, and quoted nowhere", (_, text) => {
    const error = Option.getOrThrow(Either.getLeft(LoginAttempt.fromJson(text)))
    expect(error).toMatchObject({ _tag: "LoginError", reason: "Malformed" })
    expect(inspect(error, { depth: 9 })).not.toContain("canary")
  })

  it("shows none of its secrets", () => {
    const one = attempt()
    const shown = `${inspect(one, { depth: 9 })} ${JSON.stringify(one)} ${String(LoginAttempt.toJson(one))}`
    for (const secret of [state, verifier, "n".repeat(43)]) expect(shown).not.toContain(secret)
  })
})

describe("the way back", () => {
  const party = attempt()
  const back = (over: Partial<LoginAttempt.Return> = {}): LoginAttempt.Return => ({
    now: 600_999,
    session: Option.none(),
    party,
    ...over
  })
  const bound = attempt({ session: Option.some(LoginAttempt.sessionDigest("alice")) })

  it.each<readonly [string, LoginAttempt.LoginAttempt, LoginAttempt.Return, string | undefined]>([
    ["in time", attempt(), back(), undefined],
    ["too late", attempt(), back({ now: 601_000 }), "TimedOut"],
    ["in the same session", bound, back({ session: Option.some("alice") }), undefined],
    ["in another session", bound, back({ session: Option.some("bob") }), "StateMismatch"],
    ["without its session", bound, back(), "StateMismatch"],
    [
      "with a session that began meanwhile",
      attempt(),
      back({ session: Option.some("alice") }),
      "StateMismatch"
    ],
    [
      "to another issuer",
      attempt(),
      back({ party: { ...party, issuer: Option.some("https://evil.example") } }),
      "Misconfigured"
    ],
    [
      "to a nameless server",
      attempt(),
      back({ party: { ...party, issuer: Option.none() } }),
      "Misconfigured"
    ],
    [
      "to another token endpoint",
      attempt(),
      back({ party: { ...party, tokenEndpoint: Option.some("https://id.example.com/token2") } }),
      "Misconfigured"
    ],
    ["to another client", attempt(), back({ party: { ...party, clientId: "other" } }), "Misconfigured"]
  ])("%s", (_, login, found, reason) => {
    expect(Option.getOrUndefined(LoginAttempt.problem(login, found))?.reason).toBe(reason)
  })

  it.each<readonly [Option.Option<string>, Option.Option<string>, boolean]>([
    [Option.none(), Option.none(), true],
    [Option.none(), Option.some("bob"), true],
    [Option.some("alice"), Option.some("alice"), true],
    [Option.some("alice"), Option.some("bob"), false],
    [Option.some("alice"), Option.none(), false]
  ])("for %s, %s logs in: %s", (expectedAccount, account, fits) => {
    const found = LoginAttempt.accountProblem({ expectedAccount }, account)
    expect(Option.isNone(found)).toBe(fits)
    if (Option.isSome(found)) expect(found.value.reason).toBe("OtherAccount")
  })
})

describe("a return address", () => {
  it.each([
    ["/", "/"],
    ["/a/b?c=d&e=%2F%2Fx#f", "/a/b?c=d&e=%2F%2Fx#f"],
    ["/a/../b", "/b"],
    ["/?next=//evil.example", "/?next=//evil.example"],
    ["/ü ", "/%C3%BC"],
    ["/@evil.example", "/@evil.example"],
    ["/%2f%2fevil.example", "/%2f%2fevil.example"]
  ])("%s is %s", (input, address) => {
    expect(ReturnAddress.parse(input)).toEqual(Option.some(address))
  })

  it.each([
    ...["", "a", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/a\\b"],
    ...["https://evil.example", "javascript:alert(1)", "/\t/evil.example", "/\n", "/a\0", "/\u0085", " /a"],
    ...["/.//evil.example", "/a/..//evil.example", "/%2e//evil.example", `/${"a".repeat(1000)}`],
    `/${"ü".repeat(500)}`
  ])("%j is none", (input) => {
    expect(ReturnAddress.parse(input)).toEqual(Option.none())
  })

  const piece = fc.constantFrom(
    "/",
    "\\",
    ".",
    "..",
    "%2e",
    "@",
    ":",
    "?",
    "#",
    "\t",
    "\n",
    "a",
    "evil.example",
    "https:"
  )
  Properties.prop(
    "stays at its site, in visible ASCII, and is in its normal form",
    {
      input: fc.oneof(
        fc.array(piece, { maxLength: 8 }).map((all) => `/${all.join("")}`),
        fc.string()
      )
    },
    ({ input }) => {
      const found = ReturnAddress.parse(input)
      if (Option.isNone(found)) return
      expect(found.value).toMatch(/^\/(?!\/)[\x21-\x7e]*$/)
      for (const site of ["https://app.example.com", "http://127.0.0.1:8080"]) {
        expect(new URL(found.value, `${site}/callback?code=c`).origin).toBe(site)
      }
      expect(ReturnAddress.parse(found.value)).toEqual(found)
    }
  )
})

describe("the cookies of logins", () => {
  const nameOf = (createdAt: number, tag: string) =>
    LoginCookie.nameOf(createdAt, Redacted.make(tag.padEnd(43, "x")))

  it("are found by their state", () => {
    const cookies = {
      [nameOf(1, "aaaaaaaaaaaa")]: "one",
      [nameOf(2, "bbbbbbbbbbbb")]: "two",
      session: "mine"
    }
    const found = Option.getOrThrow(LoginCookie.find(cookies, "bbbbbbbbbbbb".padEnd(43, "x")))
    expect(found.name).toBe("__Host-latchkey-login-2-bbbbbbbbbbbb")
    expect(Redacted.value(found.ticket)).toBe("two")
    for (const unknown of ["", "session", "aaaa", "c".repeat(43)]) {
      expect(LoginCookie.find(cookies, unknown)).toEqual(Option.none())
    }
  })

  it("are three at most: the oldest go", () => {
    const names = [3, 1, 4, 2].map((at) => nameOf(at, `${at}`.padEnd(12, "t")))
    expect(LoginCookie.superfluous({})).toEqual([])
    expect(LoginCookie.superfluous({ [names[0]!]: "", session: "" })).toEqual([])
    expect(LoginCookie.superfluous(Object.fromEntries(names.map((name) => [name, ""])))).toEqual([
      nameOf(2, "2".padEnd(12, "t")),
      nameOf(1, "1".padEnd(12, "t"))
    ])
  })
})

describe("the headers of a request", () => {
  const origin = "https://app.example.com"

  it.each<readonly [string, Record<string, string>, boolean]>([
    ["GET", {}, true],
    ["GET", { "sec-fetch-mode": "navigate" }, true],
    ["HEAD", {}, false],
    ["GET", { "sec-fetch-mode": "no-cors" }, false],
    ["GET", { "sec-fetch-mode": "cors" }, false],
    ["GET", { "sec-fetch-mode": "navigate", "sec-purpose": "prefetch;prerender" }, false],
    ["GET", { purpose: "prefetch" }, false]
  ])("%s with %j opens a login: %s", (method, headers, opens) => {
    expect(Option.isNone(BrowserRequest.navigationProblem(method, headers))).toBe(opens)
  })

  it.each<readonly [Record<string, string>, boolean]>([
    [{}, false],
    [{ origin }, true],
    [{ origin: "https://evil.example" }, false],
    [{ origin: "http://app.example.com" }, false],
    [{ origin: "null" }, false],
    [{ origin, "sec-fetch-site": "same-origin" }, true],
    [{ origin: "null", "sec-fetch-site": "same-origin" }, true],
    [{ "sec-fetch-site": "same-origin" }, true],
    [{ origin, "sec-fetch-site": "cross-site" }, false],
    [{ origin, "sec-fetch-site": "same-site" }, false],
    [{ origin: "https://evil.example", "sec-fetch-site": "same-origin" }, false],
    [{ origin: "null", "sec-fetch-site": "cross-site" }, false],
    [{ "sec-fetch-site": "none" }, false]
  ])("%j may log out: %s", (headers, may) => {
    expect(Option.isNone(BrowserRequest.crossSiteProblem(headers, origin))).toBe(may)
  })
})
