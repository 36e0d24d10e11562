import { Credentials, Entry } from "@latchkey/core"
import { Either, Option, Redacted } from "effect"
import { inspect } from "node:util"
import { expect, it } from "vitest"
import * as Binding from "../src/Binding.js"
import * as Recovery from "../src/internal/recovery.js"
import * as Refusals from "../src/internal/refusals.js"
import { Registered } from "../src/Registration.js"

const secret = "c1ient-secret"
const registered = new Registered({
  way: "Dynamic",
  clientId: "client",
  method: "client_secret_basic",
  secret: Option.some(Redacted.make(secret)),
  redirectUris: ["http://127.0.0.1:20001/callback"],
  grantTypes: ["authorization_code", "refresh_token"],
  secretExpiresAt: Option.some(5_000_000_000_000)
})

const binding = new Binding.Binding({
  serverUrl: "https://mcp.example.com/mcp",
  resource: "https://mcp.example.com",
  issuer: "https://auth.example.com",
  hasMetadata: true,
  requested: ["a"],
  registrations: { "https://auth.example.com": registered }
})

const bare = Credentials.make({
  accessToken: "access",
  refreshToken: "refresh",
  extras: { other: 1, latchkey_mcp: { issuer: "https://evil.example.com" } }
})
const grant = Binding.attach(bare, binding)

it("a binding goes through storage unchanged, and takes the place of a server's field", () => {
  const json: unknown = JSON.parse(JSON.stringify(Entry.toJson(Entry.first(grant))))
  const { credentials } = Either.getOrThrow(Entry.fromJson(json, Date.now()))
  const read = Option.getOrThrow(Binding.of(credentials))
  expect(read).toMatchObject({ serverUrl: binding.serverUrl, issuer: binding.issuer, requested: ["a"] })
  const client = Option.getOrThrow(Binding.client(read))
  expect(Redacted.value(Option.getOrThrow(client.secret))).toBe(secret)
  expect({ ...client, secret: undefined }).toEqual({ ...registered, secret: undefined })
  expect(Redacted.value(credentials.extras)["other"]).toBe(1)
})

it("what is no binding is none", () => {
  for (const latchkey_mcp of [undefined, null, 1, {}, { issuer: "x" }, []]) {
    expect(Binding.of(Credentials.make({ accessToken: "a", extras: { latchkey_mcp } }))).toEqual(
      Option.none()
    )
  }
  expect(Binding.of(bare)).toEqual(Option.none())
  expect(Binding.identity(bare)).toEqual(Option.none())
})

it("a grant names its issuer and its client", () => {
  expect(Option.getOrThrow(Binding.identity(grant))).toMatchObject({
    issuer: Option.some("https://auth.example.com"),
    clientId: Option.some("client"),
    grantType: "refresh_token"
  })
})

it("grants are refreshed in the same way if server, client and the value of its secret are the same", () => {
  const withClient = (client: Partial<Registered>, rest: Partial<Binding.Binding> = {}) =>
    new Binding.Binding({
      ...binding,
      ...rest,
      registrations: { [binding.issuer]: new Registered({ ...registered, ...client }) }
    })
  const isSame = (other: Binding.Binding) => Binding.hasSameClient(binding, other)
  expect(isSame(withClient({ secret: Option.some(Redacted.make(secret)), redirectUris: [] }))).toBe(true)
  expect(isSame(withClient({ secret: Option.some(Redacted.make("another")) }))).toBe(false)
  expect(isSame(withClient({ secret: Option.none() }))).toBe(false)
  expect(isSame(withClient({ clientId: "another" }))).toBe(false)
  expect(isSame(withClient({ method: "client_secret_post" }))).toBe(false)
  expect(isSame(withClient({}, { hasMetadata: false }))).toBe(false)
  expect(isSame(withClient({}, { resource: "https://other.example.com" }))).toBe(false)
})

it("the last registrations are kept, one for each issuer", () => {
  let all: Binding.Binding["registrations"] = {}
  for (let n = 0; n < 12; n++) all = Binding.register(all, `https://as${n}.example.com`, registered)
  all = Binding.register(all, "https://as5.example.com", registered)
  const kept = Option.getOrThrow(
    Binding.of(
      Option.getOrThrow(
        Either.getRight(
          Either.map(
            Entry.fromJson(
              Entry.toJson(
                Entry.first(Binding.attach(bare, new Binding.Binding({ ...binding, registrations: all })))
              ),
              Date.now()
            ),
            ({ credentials }) => credentials
          )
        )
      )
    )
  )
  const names = Object.keys(kept.registrations)
  expect(names.length).toBe(8)
  expect(names.at(-1)).toBe("https://as5.example.com")
})

it("no secret is seen in it", () => {
  for (const shown of [
    inspect(grant, { depth: 9 }),
    JSON.stringify(grant),
    inspect(binding, { depth: 9 }),
    JSON.stringify(binding)
  ]) {
    expect(shown).not.toContain(secret)
  }
})

it("each recovery happens once for a request", () => {
  const step = 'Bearer error="insufficient_scope", scope="a"'
  const none = new Set<Recovery.Recovery>()
  const table: ReadonlyArray<
    [number, string | undefined, ReadonlySet<Recovery.Recovery>, Recovery.Recovery]
  > = [
    [200, step, none, "Take"],
    [401, undefined, none, "Authorize"],
    [401, "Bearer", none, "Authorize"],
    [401, step, none, "StepUp"],
    [403, step, none, "StepUp"],
    [403, undefined, none, "Take"],
    [403, "Bearer", none, "Take"],
    [500, step, none, "Take"],
    [401, "Bearer", new Set(["Authorize"]), "Take"],
    [403, step, new Set(["Authorize"]), "StepUp"],
    [403, step, new Set(["StepUp"]), "Take"],
    [401, "Bearer", new Set(["StepUp"]), "Authorize"]
  ]
  for (const [status, header, done, expected] of table) {
    expect([status, header, Recovery.of(status, header, done)]).toEqual([status, header, expected])
  }
})

it("a refusal right after a replacement is that of the token before, once", () => {
  const a = Refusals.handOut(Refusals.none, Option.some("a"), 0)
  expect(Refusals.refuse(Refusals.none, 0).refused).toEqual({ _tag: "None" })
  expect(Refusals.refuse(a, 1).refused).toEqual({ _tag: "Current", token: "a" })
  expect(Refusals.handOut(a, Option.some("a"), 9)).toBe(a)
  const b = Refusals.handOut(a, Option.some("b"), 100)
  const first = Refusals.refuse(b, 101)
  expect(first.refused).toEqual({ _tag: "Former" })
  expect(Refusals.refuse(first.state, 102).refused).toEqual({ _tag: "Current", token: "b" })
  expect(Refusals.refuse(b, 100 + Refusals.settling).refused).toEqual({ _tag: "Current", token: "b" })
  expect(Refusals.refuse(Refusals.handOut(b, Option.none(), 200), 201).refused).toEqual({ _tag: "None" })
})
