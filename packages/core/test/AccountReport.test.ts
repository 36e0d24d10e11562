/** An operator's view of a stored grant. */
import { describe, expect, it } from "@effect/vitest"
import { AccountReport, Credentials, Entry, GrantIdentity, TokenStorages } from "@latchkey/core"
import { Option } from "effect"

const now = 1_800_000_000_000
const minute = 60_000
const expiresAt = now + 10 * minute
const valid = { accessToken: "canary-access", refreshToken: "canary-refresh", expiresAt }
const expired = { ...valid, expiresAt: now }
const fixed = { accessToken: "canary-access", expiresAt }

const fingerprint = Entry.grantFingerprint(Credentials.make(valid))
const another = Entry.grantFingerprint(Credentials.make({ accessToken: "another" }))
const dead = (rotationLost = false, of = fingerprint) => ({
  dead: Option.some(
    new Entry.DeadGrant({ fingerprint: of, at: now - 1, reason: "invalid_grant: gone", rotationLost })
  )
})
const intent = (at: number, of = fingerprint) => ({
  intent: Option.some(new Entry.Intent({ fingerprint: of, at, attempt: 2 }))
})
const wait = (at: number, until: number) => ({
  serverWait: Option.some(new Entry.ServerWait({ at, until }))
})
const client = { identity: Option.some(GrantIdentity.make({ grantType: "client_credentials" })) }

type Case = readonly [
  name: string,
  credentials: Parameters<typeof Credentials.make>[0],
  changes: Partial<Entry.Entry>,
  state: TokenStorages.AtRest["state"],
  mustLogIn: boolean,
  reason: AccountReport.LastError["reason"] | undefined
]

describe("the report of an account", () => {
  it.each<Case>([
    ["of a grant that works", valid, {}, "Renewable", false, undefined],
    ["of one that is due", expired, {}, "Renewable", false, undefined],
    ["of a dead grant, whose token is still valid", valid, dead(), "Dead", true, "GrantDead"],
    ["of a dead grant, whose token has ended", expired, dead(), "Dead", true, "GrantDead"],
    ["of a rotation that was lost", valid, dead(true), "Dead", true, "RotationLost"],
    ["of a mark of the grant before", valid, dead(false, another), "Renewable", false, undefined],
    ["of a token that cannot be renewed", fixed, {}, "Fixed", false, undefined],
    ["of one that has ended", { ...fixed, expiresAt: now }, {}, "Fixed", true, undefined],
    ["of one without an end", { accessToken: "canary-access" }, {}, "Fixed", false, undefined],
    [
      "of a client's own, that has ended",
      { ...fixed, expiresAt: now },
      client,
      "Renewable",
      false,
      undefined
    ],
    ["of a refresh under way", valid, intent(now - minute + 1), "Renewable", false, undefined],
    ["of a refresh without an answer", valid, intent(now - minute), "Renewable", false, "AnswerLost"],
    ["of an intent of the grant before", valid, intent(0, another), "Renewable", false, undefined],
    ["of an intent in the future", valid, intent(now + minute), "Renewable", false, undefined],
    ["of a server that asked to wait", valid, wait(now - 1, now + 1), "Renewable", false, "ServerAsked"],
    ["of a wait that is over, without a refresh since", valid, wait(0, 1), "Renewable", false, "ServerAsked"],
    [
      "of a wait after an answer that was lost",
      valid,
      { ...intent(now - 2 * minute), ...wait(now - minute, now) },
      "Renewable",
      false,
      "ServerAsked"
    ],
    [
      "of an answer that was lost after a wait",
      valid,
      { ...intent(now - 2 * minute), ...wait(now - 3 * minute, now) },
      "Renewable",
      false,
      "AnswerLost"
    ],
    [
      "of a dead grant before all else",
      valid,
      { ...intent(now - minute), ...wait(now, now), ...dead() },
      "Dead",
      true,
      "GrantDead"
    ]
  ])("%s", (_, credentials, changes, state, mustLogIn, reason) => {
    const entry = new Entry.Entry({ ...Entry.first(Credentials.make(credentials)), ...changes })
    const report = AccountReport.of("ada", entry, now)
    expect(report).toMatchObject({ account: "ada", state, mustLogIn })
    expect(report.dueAt).toEqual(TokenStorages.atRest(entry).dueAt)
    expect(report.expiresAt).toEqual(Option.fromNullable(credentials.expiresAt))
    expect(Option.getOrUndefined(report.lastError)?.reason).toBe(reason)
    expect(JSON.stringify(report)).not.toContain("canary")
  })

  it("says what the server said, and what to do", () => {
    const messageOf = (changes: Partial<Entry.Entry>) => {
      const entry = new Entry.Entry({ ...Entry.first(Credentials.make(valid)), ...changes })
      return Option.getOrThrow(AccountReport.of("ada", entry, now).lastError)
    }
    expect(messageOf(dead())).toEqual({
      reason: "GrantDead",
      message: "The server refused the refresh token: invalid_grant: gone. Log in again.",
      at: now - 1
    })
    expect(messageOf(intent(0)).message).toBe(
      "A refresh was started and its answer was not stored (attempt 2). Latchkey repeats it when the account is due or someone asks for a token. If the server refuses, someone must log in again."
    )
    expect(messageOf(wait(0, now)).message).toContain(new Date(now).toISOString())
    // No clock makes it throw.
    for (const until of [1e300, Infinity, NaN])
      expect(messageOf(wait(0, until)).message).toContain("Nothing is sent for now.")
  })
})
