import { addEqualityTesters, describe, expect, it } from "@effect/vitest"
import { Option } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import * as Profile from "@latchkey/core/Profile"

// Two Redacted are equal when their secrets are.
addEqualityTesters()

describe("make", () => {
  it("keeps what is given", () => {
    const profile = Profile.make({
      provider: "github",
      accountId: "acct-1",
      email: "a@example.com",
      displayName: "A",
      extras: { plan: "pro" }
    })
    expect({ ...profile }).toEqual({
      provider: "github",
      accountId: Option.some("acct-1"),
      email: Option.some("a@example.com"),
      displayName: Option.some("A"),
      extras: { plan: "pro" }
    })
  })

  it("leaves out what is not", () => {
    expect({ ...Profile.make({ provider: "github" }) }).toEqual({
      provider: "github",
      accountId: Option.none(),
      email: Option.none(),
      displayName: Option.none(),
      extras: {}
    })
  })
})

describe("fromCredentials", () => {
  it("tells the account and nothing that may be secret", () => {
    const credentials = Credentials.make({
      accessToken: "canary-access",
      accountId: "acct-1",
      extras: { note: "canary-extra" }
    })
    const profile = Profile.fromCredentials("github", credentials)
    expect(profile).toEqual(Profile.make({ provider: "github", accountId: "acct-1" }))
    expect(JSON.stringify(profile)).not.toContain("canary")
  })

  it("has no account where the credentials have none", () => {
    const profile = Profile.fromCredentials("github", Credentials.make({ accessToken: "at" }))
    expect(profile.accountId).toEqual(Option.none())
  })
})
