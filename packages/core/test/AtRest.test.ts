/** The place of a stored grant in the index of accounts. */
import { describe, expect, it } from "@effect/vitest"
import { Credentials, Entry, GrantIdentity, TokenStorages } from "@latchkey/core"
import { Option } from "effect"

const expiresAt = 1_800_000_000_000
const credentials = { accessToken: "access", refreshToken: "refresh", expiresAt }
const withoutRefreshToken = { accessToken: "access", expiresAt }

const fingerprint = Entry.grantFingerprint(Credentials.make(credentials))
const dead = (of = fingerprint) =>
  Option.some(new Entry.DeadGrant({ fingerprint: of, at: 0, reason: "invalid_grant", rotationLost: false }))
const intent = (of = fingerprint) =>
  Option.some(new Entry.Intent({ fingerprint: of, at: expiresAt - 9000, attempt: 1 }))
const wait = (until: number) => Option.some(new Entry.ServerWait({ at: 0, until }))
const another = Entry.grantFingerprint(Credentials.make({ accessToken: "another" }))
const own = Option.some(GrantIdentity.make({ grantType: "client_credentials" }))

describe("an account at rest", () => {
  it.each<
    readonly [
      string,
      Parameters<typeof Credentials.make>[0],
      Partial<Entry.Entry>,
      TokenStorages.AtRest["state"],
      number | undefined
    ]
  >([
    ["is due at its expiry", credentials, {}, "Renewable", expiresAt],
    [
      "or when the server wants it renewed",
      { ...credentials, refreshAt: expiresAt - 1 },
      {},
      "Renewable",
      expiresAt - 1
    ],
    ["or not at all", { ...credentials, expiresAt: undefined }, {}, "Renewable", undefined],
    [
      "is due at once where an answer was lost",
      credentials,
      { intent: intent() },
      "Renewable",
      expiresAt - 9000
    ],
    [
      "but not for the intent of another grant",
      credentials,
      { intent: intent(another) },
      "Renewable",
      expiresAt
    ],
    [
      "waits as long as the server asked",
      credentials,
      { serverWait: wait(expiresAt + 1) },
      "Renewable",
      expiresAt + 1
    ],
    ["and no longer", credentials, { serverWait: wait(expiresAt - 1) }, "Renewable", expiresAt],
    [
      "waits for nothing where it lasts",
      { ...credentials, expiresAt: undefined },
      { serverWait: wait(9) },
      "Renewable",
      undefined
    ],
    ["is dead by the mark of this grant", credentials, { dead: dead() }, "Dead", undefined],
    ["not by that of another", credentials, { dead: dead(another) }, "Renewable", expiresAt],
    ["ends with its token where it has no other", withoutRefreshToken, {}, "Fixed", undefined],
    [
      "is renewed without a refresh token where its client needs none",
      withoutRefreshToken,
      { identity: own },
      "Renewable",
      expiresAt
    ]
  ])("%s", (_, given, fields, state, dueAt) => {
    const entry = new Entry.Entry({ ...Entry.first(Credentials.make(given)), ...fields })
    expect(TokenStorages.atRest(entry)).toEqual({ state, dueAt: Option.fromNullable(dueAt) })
  })
})
