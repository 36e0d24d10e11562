import { inspect } from "node:util"
import { addEqualityTesters, describe, expect, it } from "@effect/vitest"
import { FastCheck as FC, Option, Redacted } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import * as Snapshot from "@latchkey/core/Snapshot"
import { runs } from "./support/Arbitraries.js"
import * as Properties from "./support/Properties.js"

// Two Redacted are equal when their secrets are.
addEqualityTesters()

const now = 1_700_000_000_000

const of = (tokens: { readonly access?: string; readonly refresh?: string; readonly expiresAt?: number }) =>
  new Snapshot.Snapshot({
    provider: "github",
    accountId: Option.none(),
    accessToken: Option.map(Option.fromNullable(tokens.access), Redacted.make),
    refreshToken: Option.map(Option.fromNullable(tokens.refresh), Redacted.make),
    expiresAt: Option.fromNullable(tokens.expiresAt),
    scopes: ["read:user"],
    extras: {}
  })

describe("mask", () => {
  it.each([
    ["0123456789", 3, "012...789"],
    ["0123456789", 4, "0123...6789"],
    ["0123456789", 5, "**********"],
    ["01234567890", 5, "01234...67890"],
    ["0123456789", 0, "**********"],
    ["0123456789", -1, "**********"],
    ["0123456789", Number.NaN, "**********"],
    ["0123456789", Infinity, "**********"],
    ["0123456789", 0.5, "**********"],
    ["0123456789", 1, "0...9"],
    ["0123456789", 2.5, "01...89"],
    ["", 4, ""],
    ["a", 4, "*"],
    ["ab", 1, "**"],
    ["abc", 1, "a...c"],
    ["🔑🔒🔓", 1, "🔑...🔓"],
    ["🔑🔒", 1, "**"]
  ])("of %j with %d visible is %j", (secret, visible, masked) => {
    expect(Snapshot.mask(secret, visible)).toBe(masked)
  })

  Properties.prop(
    "never shows more than asked for, nor the whole",
    [FC.string({ unit: "grapheme", minLength: 1, maxLength: 40 }), FC.double({ min: -5, max: 25 })],
    ([secret, visible]) => {
      const masked = Snapshot.mask(secret, visible)
      const length = Array.from(secret).length
      if (masked === "*".repeat(length)) {
        expect(!(visible >= 1) || length <= visible * 2).toBe(true)
      } else {
        expect(Array.from(masked)).toHaveLength(Math.floor(visible) * 2 + 3)
        expect(length).toBeGreaterThan(Math.floor(visible) * 2)
      }
    },
    runs(1000)
  )
})

describe("previews", () => {
  const snapshot = of({ access: "access-0123456789-access", refresh: "refresh-0123456789" })

  it("show 8 characters of an access token at each end, or as many as asked for", () => {
    expect(Snapshot.accessTokenPreview(snapshot)).toEqual(Option.some("access-0...9-access"))
    expect(Snapshot.accessTokenPreview(snapshot, 2)).toEqual(Option.some("ac...ss"))
  })

  it("show 4 of a refresh token, or as many as asked for", () => {
    expect(Snapshot.refreshTokenPreview(snapshot)).toEqual(Option.some("refr...6789"))
    expect(Snapshot.refreshTokenPreview(snapshot, 2)).toEqual(Option.some("re...89"))
  })

  it.each([[undefined], [""]])("are none for the token %j", (token) => {
    const none = of(token === undefined ? {} : { access: token, refresh: token })
    expect(Snapshot.accessTokenPreview(none)).toEqual(Option.none())
    expect(Snapshot.refreshTokenPreview(none)).toEqual(Option.none())
    expect(Snapshot.hasAccessToken(none)).toBe(false)
    expect(Snapshot.hasRefreshToken(none)).toBe(false)
  })
})

it("tells the two tokens apart", () => {
  expect(Snapshot.hasAccessToken(of({ access: "at" }))).toBe(true)
  expect(Snapshot.hasRefreshToken(of({ access: "at" }))).toBe(false)
  expect(Snapshot.hasAccessToken(of({ refresh: "rt" }))).toBe(false)
  expect(Snapshot.hasRefreshToken(of({ refresh: "rt" }))).toBe(true)
})

describe("expiresInSeconds", () => {
  it.each([
    [now + 2000, 2],
    [now + 1999, 1],
    [now + 1000, 1],
    [now + 999, 0],
    [now + 1, 0],
    [now, 0],
    [now - 1, 0],
    [now - 90_000, 0],
    [Infinity, Infinity],
    [-Infinity, 0]
  ])("of an expiry at %d is %d", (expiresAt, seconds) => {
    expect(Snapshot.expiresInSeconds(of({ expiresAt }), now)).toEqual(Option.some(seconds))
  })

  it("is none where the expiry is unknown", () => {
    expect(Snapshot.expiresInSeconds(of({}), now)).toEqual(Option.none())
  })

  it("is no more than the lifetime, where a clock was ahead when the token was obtained", () => {
    const hour = 3_600_000
    const credentials = Credentials.make({
      accessToken: "at",
      obtainedAt: now + 2 * hour,
      expiresAt: now + 3 * hour
    })
    const snapshot = Snapshot.fromCredentials(credentials, { provider: "github" })
    expect(Snapshot.expiresInSeconds(snapshot, now)).toEqual(Option.some(3600))
  })
})

describe("fromCredentials", () => {
  const credentials = Credentials.make({
    accessToken: "canary-access",
    refreshToken: "canary-refresh",
    idToken: "canary-id",
    expiresAt: now,
    scopes: ["read:user", "gist"],
    accountId: "acct-1",
    extras: { note: "canary-extra" }
  })

  it("takes over what is shown, and none of the unknown fields", () => {
    expect({ ...Snapshot.fromCredentials(credentials, { provider: "github" }) }).toEqual({
      provider: "github",
      accountId: Option.some("acct-1"),
      accessToken: Option.some(Redacted.make("canary-access")),
      refreshToken: Option.some(Redacted.make("canary-refresh")),
      expiresAt: Option.some(now),
      scopes: ["read:user", "gist"],
      extras: {}
    })
  })

  it("takes the extras that the provider says are to be shown", () => {
    const snapshot = Snapshot.fromCredentials(credentials, { provider: "codex", extras: { plan: "pro" } })
    expect(snapshot.extras).toEqual({ plan: "pro" })
  })

  it("shows no secret by accident", () => {
    const snapshot = Snapshot.fromCredentials(credentials, { provider: "github" })
    for (const text of [
      JSON.stringify(snapshot),
      inspect(snapshot, { depth: 9 }),
      `${snapshot.accessToken}`
    ]) {
      expect(text).not.toContain("canary")
    }
  })
})

it("withScopes changes the scopes alone, in a copy", () => {
  const before = of({ access: "at", expiresAt: now })
  const after = Snapshot.withScopes(before, ["gist"])
  expect(after.scopes).toEqual(["gist"])
  expect(before.scopes).toEqual(["read:user"])
  expect({ ...after, scopes: before.scopes }).toEqual({ ...before })
})
