import { addEqualityTesters, describe, expect, it } from "@effect/vitest"
import { Option } from "effect"
import * as AuthStatus from "@latchkey/core/AuthStatus"
import * as Credentials from "@latchkey/core/Credentials"

// Two Redacted are equal when their secrets are.
addEqualityTesters()

const now = 1_700_000_000_000

const expiring = (expiresAt: number | undefined) =>
  Option.some(Credentials.make({ accessToken: "at", expiresAt, accountId: "acct-1" }))

describe("of", () => {
  it("nothing: no session, for want of credentials", () => {
    expect({ ...AuthStatus.of(Option.none(), now) }).toEqual({
      authenticated: false,
      reason: Option.some("NoCredentials"),
      expiresAt: Option.none(),
      expiresInSeconds: Option.none(),
      accountId: Option.none(),
      warnings: []
    })
  })

  it.each([
    ["a minute ago", now - 60_000, false, Option.none()],
    ["1 ms ago", now - 1, false, Option.none()],
    ["right now", now, false, Option.none()],
    ["in 1 ms", now + 1, true, Option.some(0)],
    ["in 1 s", now + 1000, true, Option.some(1)],
    ["in 1,999 ms", now + 1999, true, Option.some(1)],
    ["in an hour", now + 3_600_000, true, Option.some(3600)]
  ])("a token that expires %s", (_, expiresAt, authenticated, expiresInSeconds) => {
    expect({ ...AuthStatus.of(expiring(expiresAt), now) }).toEqual({
      authenticated,
      reason: authenticated ? Option.none() : Option.some("Expired"),
      expiresAt: Option.some(expiresAt),
      expiresInSeconds,
      accountId: Option.some("acct-1"),
      warnings: []
    })
  })

  it("a token without expiry: a session with no end", () => {
    const status = AuthStatus.of(expiring(undefined), now)
    expect(status.authenticated).toBe(true)
    expect(status.reason).toEqual(Option.none())
    expect(status.expiresAt).toEqual(Option.none())
    expect(status.expiresInSeconds).toEqual(Option.none())
  })

  it.each([
    ["nothing", Option.none<Credentials.Credentials>()],
    ["a session", expiring(undefined)]
  ])("%s with warnings keeps them", (_, credentials) => {
    expect(AuthStatus.of(credentials, now, ["Unsaved", "CoolingDown"]).warnings).toEqual([
      "Unsaved",
      "CoolingDown"
    ])
  })
})

it("says the reason in the words of the original", () => {
  expect(AuthStatus.describe("NoCredentials")).toBe("No credentials found")
  expect(AuthStatus.describe("Expired")).toBe("Token expired")
})
