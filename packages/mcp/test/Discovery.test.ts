import { Either, Option } from "effect"
import * as fc from "effect/FastCheck"
import { describe, expect, it } from "vitest"
import * as Discovery from "../src/Discovery.js"

const server = new URL("https://mcp.example.com/tenant/mcp")

describe("a challenge", () => {
  it.each<[string | undefined, object]>([
    [undefined, { resourceMetadata: Option.none(), scopes: Option.none(), error: Option.none() }],
    ["Basic realm=x", { resourceMetadata: Option.none(), scopes: Option.none() }],
    ["Bearer", { resourceMetadata: Option.none(), scopes: Option.none() }],
    ['Bearer scope=""', { scopes: Option.none() }],
    ['Bearer scope="  "', { scopes: Option.none() }],
    ['Bearer scope="b a  b"', { scopes: Option.some(["b", "a"]) }],
    ['Bearer scope="a \\\\ é b"', { scopes: Option.some(["a", "b"]) }],
    [
      'Basic realm="x", Bearer error="insufficient_scope", scope="a", resource_metadata="https://x.example/m"',
      {
        error: Option.some("insufficient_scope"),
        scopes: Option.some(["a"]),
        resourceMetadata: Option.some("https://x.example/m")
      }
    ],
    ['Bearer scope="a", DPoP scope="b"', { scopes: Option.some(["a"]) }]
  ])("%s", (header, expected) => {
    expect(Discovery.challenge(header)).toMatchObject(expected)
  })
})

describe("where the server's metadata may be", () => {
  it.each<[string, ReadonlyArray<string>]>([
    ["https://a.example", ["https://a.example/.well-known/oauth-protected-resource"]],
    [
      "https://a.example/mcp",
      [
        "https://a.example/.well-known/oauth-protected-resource/mcp",
        "https://a.example/.well-known/oauth-protected-resource"
      ]
    ],
    [
      "https://a.example:8443/x/mcp/?tenant=1",
      [
        "https://a.example:8443/.well-known/oauth-protected-resource/x/mcp?tenant=1",
        "https://a.example:8443/.well-known/oauth-protected-resource"
      ]
    ]
  ])("of %s", (url, urls) => {
    expect(Discovery.metadataUrls(new URL(url), Option.none())).toEqual(urls)
  })

  it("is where the challenge says, and nowhere else", () => {
    expect(Discovery.metadataUrls(server, Option.some("https://b.example/m"))).toEqual([
      "https://b.example/m"
    ])
  })
})

describe("a resource covers the server", () => {
  it.each<[string, boolean]>([
    ["https://mcp.example.com/tenant/mcp", true],
    ["https://mcp.example.com/tenant/mcp/", true],
    ["https://mcp.example.com/tenant", true],
    ["https://mcp.example.com", true],
    ["https://MCP.example.com/", true],
    ["https://mcp.example.com:443", true],
    ["https://mcp.example.com/tenant/mcp/deeper", false],
    ["https://mcp.example.com/ten", false],
    ["https://mcp.example.com/TENANT/mcp", false],
    ["https://mcp.example.com/other", false],
    ["https://mcp.example.com:8443", false],
    ["http://mcp.example.com/tenant/mcp", false],
    ["https://evil.example.com/tenant/mcp", false],
    ["https://mcp.example.com@evil.example.com/tenant/mcp", false],
    ["https://user@mcp.example.com/tenant/mcp", false],
    ["https://mcp.example.com/tenant/mcp?tenant=2", false],
    ["https://mcp.example.com/tenant/mcp#x", false],
    ["https://mcp.example.com/tenant/mcp#", false],
    ["urn:example:mcp", false],
    ["", false],
    ["mcp.example.com", false]
  ])("%s: %s", (resource, expected) => {
    expect(Discovery.covers(resource, server)).toBe(expected)
  })

  it("of the same query", () => {
    expect(Discovery.covers("https://a.example/m?t=1", new URL("https://a.example/m?t=1"))).toBe(true)
    expect(Discovery.covers("https://a.example/m", new URL("https://a.example/m?t=1"))).toBe(true)
  })

  it("always its own, and never that of another host", () => {
    fc.assert(
      fc.property(fc.webUrl(), fc.webUrl(), (a, b) => {
        const [own, other] = [new URL(a), new URL(b)]
        expect(Discovery.covers(Discovery.canonical(own), own)).toBe(true)
        if (own.origin !== other.origin) expect(Discovery.covers(a, other)).toBe(false)
      })
    )
  })
})

describe("the server's metadata", () => {
  const issuer = "https://auth.example.com"
  const document = { resource: server.href, authorization_servers: [issuer], scopes_supported: ["a b", "c"] }

  it("is read", () => {
    expect(Discovery.parse(document, server)).toEqual(
      Either.right(
        new Discovery.ProtectedResource({
          resource: server.href,
          issuers: [issuer],
          scopes: Option.some(["a", "b", "c"])
        })
      )
    )
  })

  it.each<[string, object, RegExp]>([
    ["no resource", { resource: undefined }, /names no resource/],
    ["a resource that is no text", { resource: 1 }, /names no resource/],
    [
      "another resource",
      { resource: "https://evil.example.com/mcp?secret" },
      /https:\/\/evil.example.com\/mcp, which/
    ],
    ["issuers that are not a list", { authorization_servers: issuer }, /not a list/],
    ["issuers that are not strings", { authorization_servers: [1] }, /not a list/],
    ["an insecure issuer", { authorization_servers: ["http://auth.example.com"] }, /no request may be sent/],
    [
      "an issuer in a private network",
      { authorization_servers: ["https://10.0.0.1"] },
      /no request may be sent/
    ],
    ["an issuer on this machine", { authorization_servers: ["http://127.0.0.1:1"] }, /no request may be sent/]
  ])("with %s is not used", (_, change, problem) => {
    const read = Discovery.parse({ ...document, ...change }, server)
    expect(Either.getOrThrow(Either.flip(read))).toMatch(problem)
  })

  it("may name no authorization server, or some of no use", () => {
    const read = (issuers: unknown) =>
      Either.getOrThrow(Discovery.parse({ ...document, authorization_servers: issuers }, server)).issuers
    expect(read(undefined)).toEqual([])
    expect(read([])).toEqual([])
    expect(read(["http://auth.example.com", "https://a\u001b[1m.example", issuer, issuer])).toEqual([issuer])
  })

  it("with scopes of no use has none", () => {
    for (const scopes of [undefined, [], "a", [1]]) {
      const read = Discovery.parse({ ...document, scopes_supported: scopes }, server)
      expect(Either.getOrThrow(read).scopes).toEqual(Option.none())
    }
  })

  it("of a private network may name issuers of that network, where that is allowed", () => {
    const inside = new URL("https://10.0.0.2/mcp")
    const listed = { resource: inside.href, authorization_servers: ["https://10.0.0.1"] }
    expect(Either.isRight(Discovery.parse(listed, inside))).toBe(true)
    const named = { ...document, authorization_servers: ["https://10.0.0.1"] }
    expect(Either.isRight(Discovery.parse(named, server, { allowPrivate: true }))).toBe(true)
  })
})

describe("the authorization server", () => {
  const [a, b, c] = ["https://a.example", "https://b.example", "https://c.example"] as const
  it.each<[ReadonlyArray<string>, string | undefined, string | undefined, string | undefined]>([
    [[], undefined, undefined, undefined],
    [[], a, b, undefined],
    [[a, b], undefined, undefined, a],
    [[a, b], b, undefined, b],
    [[a, b], b, a, b],
    [[a, b], c, b, b],
    [[a, b], c, c, a]
  ])("of %j, with a grant of %s, and %s preferred, is %s", (listed, stored, preferred, expected) => {
    const chosen = Discovery.selectIssuer(listed, Option.fromNullable(stored), Option.fromNullable(preferred))
    expect(Option.getOrUndefined(chosen)).toBe(expected)
  })

  it("is trusted where the resource lists it, or lists none", () => {
    const resource = (issuers: ReadonlyArray<string>) =>
      new Discovery.ProtectedResource({ resource: server.href, issuers, scopes: Option.none() })
    expect(Discovery.trusts(resource([]), a)).toBe(true)
    expect(Discovery.trusts(resource([b, a]), a)).toBe(true)
    expect(Discovery.trusts(resource([b]), a)).toBe(false)
    expect(Discovery.trusts(resource([a]), `${a}/`)).toBe(false)
  })

  it("must say that it supports PKCE with S256", () => {
    const problem = (methods: Array<string> | undefined) =>
      Option.isSome(
        Discovery.pkceProblem({
          issuer: a,
          ...(methods !== undefined && { code_challenge_methods_supported: methods })
        })
      )
    expect([problem(undefined), problem([]), problem(["plain"]), problem(["plain", "S256"])]).toEqual([
      true,
      true,
      true,
      false
    ])
  })
})
