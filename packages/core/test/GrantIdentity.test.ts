import { describe, expect, it } from "@effect/vitest"
import { FastCheck as FC, Option } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import { identity as anyIdentity, runs } from "./support/Arbitraries.js"
import * as Mismatch from "../src/grant/Mismatch.js"
import * as Properties from "./support/Properties.js"

type Fields = Parameters<typeof GrantIdentity.make>[0]

const compare = (stored: Fields | undefined, current: Fields, formerly: ReadonlyArray<string> = []) =>
  Option.getOrNull(
    Mismatch.compare(
      {
        identity: Option.map(Option.fromNullable(stored), GrantIdentity.make),
        hasRefreshToken: true
      },
      GrantIdentity.make(current),
      formerly
    )
  )

describe("compare: the same identity", () => {
  it.each([
    ["all of it alike", { issuer: "https://a.example", clientId: "app" }, {}],
    ["a slash at the end of an issuer", { issuer: "https://a.example" }, { issuer: "https://a.example/" }],
    ["a slash at the end of a path", { issuer: "https://a.example/r/" }, { issuer: "https://a.example/r" }],
    [
      "case of scheme and host, the default port",
      { issuer: "HTTPS://A.example:443" },
      { issuer: "https://a.example" }
    ],
    [
      "a client that is not known on one side",
      { issuer: "https://a.example" },
      { issuer: "https://a.example", clientId: "app" }
    ],
    ["the endpoint alone", { tokenEndpoint: "https://a.example/token" }, {}],
    [
      "the endpoint, where the issuer is known on one side",
      { tokenEndpoint: "https://a.example/token" },
      { tokenEndpoint: "https://a.example/token", issuer: "https://a.example" }
    ],
    [
      "an endpoint that was set by hand, and is discovered now",
      { tokenEndpoint: "https://t.example/token", issuer: "https://a.example" },
      { issuer: "https://a.example" }
    ],
    [
      "an endpoint below the issuer, which was discovered before",
      { issuer: "https://a.example" },
      { issuer: "https://a.example/", tokenEndpoint: "https://a.example/oauth/token" }
    ],
    ["nothing is known of the server now", { issuer: "https://a.example" }, { clientId: "app" }],
    ["nothing was known of the server then", { clientId: "app" }, { issuer: "https://a.example" }],
    ["a name that is no URL", { issuer: "urn:own" }, {}]
  ] satisfies ReadonlyArray<readonly [string, Fields, Fields]>)("%s", (_, stored, current) => {
    expect(compare(stored, Object.keys(current).length === 0 ? stored : current)).toBeNull()
  })
})

describe("compare: another identity, and both sides by name", () => {
  const issuer = "https://a.example"
  it.each([
    [{ issuer }, { issuer: "https://b.example" }, "Server", "https://a.example", "https://b.example"],
    [
      { issuer: "http://127.0.0.1:4400" },
      { issuer: "http://127.0.0.1:4401" },
      "Server",
      "http://127.0.0.1:4400",
      "http://127.0.0.1:4401"
    ],
    [
      { issuer: `${issuer}/r/one` },
      { issuer: `${issuer}/r/two` },
      "Server",
      `${issuer}/r/one`,
      `${issuer}/r/two`
    ],
    [{ issuer: `${issuer}/R` }, { issuer: `${issuer}/r` }, "Server", `${issuer}/R`, `${issuer}/r`],
    [{ issuer }, { issuer: "http://a.example" }, "Server", issuer, "http://a.example"],
    [
      { tokenEndpoint: `${issuer}/token` },
      { tokenEndpoint: "https://b.example/token" },
      "Server",
      `${issuer}/token`,
      "https://b.example/token"
    ],
    [
      { tokenEndpoint: `${issuer}/token` },
      { tokenEndpoint: `${issuer}/token/` },
      "Server",
      `${issuer}/token`,
      `${issuer}/token/`
    ],
    // The issuer is the same in name, and the grant would be sent elsewhere.
    [
      { issuer, tokenEndpoint: `${issuer}/token` },
      { issuer, tokenEndpoint: "https://b.example/token" },
      "Server",
      `${issuer}/token`,
      "https://b.example/token"
    ],
    [
      { issuer },
      { issuer, tokenEndpoint: "https://b.example/token" },
      "Server",
      issuer,
      "https://b.example/token"
    ],
    [
      { issuer },
      { issuer, tokenEndpoint: "https://a.example.evil/token" },
      "Server",
      issuer,
      "https://a.example.evil/token"
    ],
    // The endpoint is the same, and the settings are of two servers.
    [
      { issuer, tokenEndpoint: `${issuer}/token` },
      { issuer: "https://b.example", tokenEndpoint: `${issuer}/token` },
      "Server",
      issuer,
      "https://b.example"
    ],
    // Nothing says that they are the same server.
    [{ tokenEndpoint: `${issuer}/token` }, { issuer }, "Server", `${issuer}/token`, issuer],
    [{ issuer }, { tokenEndpoint: "https://b.example/token" }, "Server", issuer, "https://b.example/token"],
    [
      { tokenEndpoint: `${issuer}/token?policy=a` },
      { tokenEndpoint: `${issuer}/token?policy=b` },
      "Server",
      `${issuer}/token`,
      `${issuer}/token (with another query)`
    ],
    [{ issuer, clientId: "one" }, { issuer, clientId: "two" }, "Client", "one", "two"],
    [{ issuer, clientId: "one" }, { issuer, clientId: "One" }, "Client", "one", "One"],
    [
      { issuer, clientId: "one" },
      { issuer, clientId: "two", grantType: "client_credentials" },
      "GrantType",
      "a user's grant",
      "the client's own (client_credentials)"
    ],
    [
      { issuer, grantType: "client_credentials" },
      { issuer },
      "GrantType",
      "the client's own (client_credentials)",
      "a user's grant"
    ],
    [
      { issuer, grantType: "assertion", subject: "ada" },
      { issuer, grantType: "assertion", subject: "bob" },
      "Account",
      "ada",
      "bob"
    ]
  ] satisfies ReadonlyArray<readonly [Fields, Fields, string, string, string]>)(
    "%j, then %j: %s",
    (was, is, difference, stored, current) => {
      const found = compare(was, is)
      expect(found).toMatchObject({ difference, stored, current })
      const sentence = GrantIdentity.describeMismatch(found!)
      expect(sentence).toContain(stored)
      expect(sentence).toContain(current)
    }
  )
})

describe("compare: names that the server had before", () => {
  const was = { tokenEndpoint: "https://console.example/token", clientId: "app" }
  const is = { tokenEndpoint: "https://platform.example/token", clientId: "app" }
  it("count as the server, by endpoint and by issuer", () => {
    expect(compare(was, is)).not.toBeNull()
    expect(compare(was, is, ["https://console.example/token"])).toBeNull()
    expect(compare(was, { issuer: "https://platform.example" }, ["https://console.example/token"])).toBeNull()
    expect(
      compare({ issuer: "https://old.example/" }, { issuer: "https://new.example" }, ["https://old.example"])
    ).toBeNull()
  })
  it("and make no difference between clients, or for a third server", () => {
    expect(compare(was, { ...is, clientId: "other" }, ["https://console.example/token"])).toMatchObject({
      difference: "Client"
    })
    expect(compare(was, is, ["https://elsewhere.example/token"])).toMatchObject({ difference: "Server" })
    expect(compare(is, was, ["https://console.example/token"])).toMatchObject({ difference: "Server" })
  })
})

describe("compare: a grant that was stored without an identity", () => {
  const stored = (hasRefreshToken: boolean, current: Fields) =>
    Option.isNone(Mismatch.compare({ identity: Option.none(), hasRefreshToken }, GrantIdentity.make(current)))
  it("passes, but for a user's where the client asks for its own", () => {
    expect(stored(true, { issuer: "https://a.example", clientId: "app" })).toBe(true)
    expect(stored(false, { issuer: "https://a.example", clientId: "app" })).toBe(true)
    expect(stored(false, { issuer: "https://a.example", grantType: "client_credentials" })).toBe(true)
    expect(stored(true, { issuer: "https://a.example", grantType: "client_credentials" })).toBe(false)
  })
})

describe("compare", () => {
  Properties.prop(
    "is none for itself, and for what the entry codec makes of it",
    { identity: anyIdentity },
    ({ identity }) => {
      const entry = Entry.bind(
        Entry.first(Credentials.make({ accessToken: "at", refreshToken: "rt" })),
        Option.some(identity)
      )
      const read = Entry.fromJson(JSON.parse(JSON.stringify(Entry.toJson(entry))), 0)
      expect(read).toMatchObject({ _tag: "Right", right: entry })
      expect(Option.isNone(Mismatch.mismatch(entry, identity))).toBe(true)
    },
    runs(200)
  )

  Properties.prop(
    "never lets a grant go to another client, or to an endpoint of which it does not know",
    { was: anyIdentity, is: anyIdentity },
    ({ is, was }) => {
      const found = Mismatch.compare({ identity: Option.some(was), hasRefreshToken: true }, is)
      if (Option.isSome(found)) return
      const unequal = (a: Option.Option<string>, b: Option.Option<string>) =>
        Option.isSome(a) && Option.isSome(b) && a.value.replace(/\/$/, "") !== b.value.replace(/\/$/, "")
      expect(unequal(was.clientId, is.clientId)).toBe(false)
      expect(unequal(was.issuer, is.issuer)).toBe(false)
      expect(unequal(was.tokenEndpoint, is.tokenEndpoint)).toBe(false)
      expect(was.grantType).toBe(is.grantType)
    },
    runs(2000)
  )

  Properties.prop(
    "accounts: the same, or one that is not known",
    { a: FC.option(FC.constantFrom("ada", "bob")), b: FC.option(FC.constantFrom("ada", "bob")) },
    ({ a, b }) => {
      const found = Mismatch.compareAccounts(Option.fromNullable(a), Option.fromNullable(b))
      expect(Option.isSome(found)).toBe(a !== null && b !== null && a !== b)
      if (Option.isSome(found)) expect(found.value).toMatchObject({ stored: a, current: b })
    },
    runs(50)
  )
})

describe("what is shown", () => {
  it("has no user info, no query, nothing that a terminal obeys, and an end", () => {
    const found = compare(
      { tokenEndpoint: "https://user:secret@a.example/token?key=secret" },
      { tokenEndpoint: "https://b.example/token?key=secret" }
    )!
    expect(`${found.stored} ${found.current}`).toBe("https://a.example/token https://b.example/token")
    const evil = compare({ clientId: "\u001b[31m\u202e\n" }, { clientId: "x".repeat(5000) })!
    expect(evil.stored).toBe("\\u{1b}[31m\\u{202e}\\u{a}")
    expect(evil.current).toBe(`${"x".repeat(200)}…`)
    expect(compare({ clientId: "y".repeat(200) }, { clientId: "x" })?.stored).toBe("y".repeat(200))
  })

  it("is a server as it was written, with its slash or without", () => {
    expect(
      compare({ tokenEndpoint: "https://a.example/" }, { tokenEndpoint: "https://b.example" })
    ).toMatchObject({
      stored: "https://a.example/",
      current: "https://b.example"
    })
  })
})
