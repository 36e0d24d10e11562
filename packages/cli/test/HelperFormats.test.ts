/** The helper protocols as pure tables: the exact bytes that each specification asks for. */
import { Either, Option, Redacted } from "effect"
import { describe, expect, it } from "vitest"
import * as BazelCredential from "../src/BazelCredential.js"
import * as DockerCredential from "../src/DockerCredential.js"
import * as GitCredential from "../src/GitCredential.js"
import type { HelperToken } from "../src/HelperToken.js"
import * as ServedHost from "../src/ServedHost.js"
import * as TokenFormats from "../src/TokenFormats.js"

const noon = Date.UTC(2026, 10, 27, 12)

const jwt = (claims: object) =>
  ["{}", JSON.stringify(claims), "signature"].map((part) => Buffer.from(part).toString("base64url")).join(".")

const token = (changes: Partial<HelperToken> = {}): HelperToken => ({
  account: "acme/work",
  accessToken: Redacted.make("canary-1"),
  idToken: Option.none(),
  tokenType: "bearer",
  // Never later than it is.
  expiresAt: Option.some(noon + 999),
  ...changes
})

const request: TokenFormats.Request = {
  host: Option.none(),
  username: Option.none(),
  variable: "ACCESS_TOKEN",
  execInfo: "",
  googleTokenType: "",
  now: noon - 60_000
}

const endless = { expiresAt: Option.none() }
const info = (apiVersion: string) => JSON.stringify({ apiVersion, kind: "ExecCredential", spec: {} })
const idToken = Redacted.make(jwt({ exp: noon / 1000 }))

describe("latchkey token --format", () => {
  it.each<[TokenFormats.Format, Partial<HelperToken>, Partial<TokenFormats.Request>, string]>([
    ["header-json", {}, {}, '{"Authorization":"Bearer canary-1"}'],
    ["git", {}, {}, "username=oauth2\npassword=canary-1\npassword_expiry_utc=1795780800"],
    ["git", endless, {}, "username=oauth2\npassword=canary-1"],
    ["git", { account: "github/work", ...endless }, {}, "username=x-access-token\npassword=canary-1"],
    ["git", endless, { username: Option.some("ada") }, "username=ada\npassword=canary-1"],
    [
      "kubectl",
      {},
      {},
      '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"expirationTimestamp":"2026-11-27T12:00:00Z","token":"canary-1"}}'
    ],
    [
      "kubectl",
      endless,
      { execInfo: info("client.authentication.k8s.io/v1beta1") },
      '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"canary-1"}}'
    ],
    ["bazel", {}, {}, '{"headers":{"Authorization":["Bearer canary-1"]},"expires":"2026-11-27T12:00:00Z"}'],
    ["bazel", endless, {}, '{"headers":{"Authorization":["Bearer canary-1"]}}'],
    [
      "bazel",
      { expiresAt: Option.some(8.64e18) },
      {},
      '{"headers":{"Authorization":["Bearer canary-1"]},"expires":"9999-12-31T23:59:59Z"}'
    ],
    [
      "docker",
      {},
      { host: Option.some("GHCR.io") },
      '{"ServerURL":"ghcr.io","Username":"oauth2","Secret":"canary-1"}'
    ],
    [
      "gcloud",
      { idToken: Option.some(idToken) },
      {},
      `{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:id_token","id_token":"${Redacted.value(idToken)}","expiration_time":1795780800}`
    ],
    [
      "gcloud",
      { idToken: Option.some(idToken), accessToken: Redacted.make(jwt({ iss: "https://id.example.com" })) },
      { googleTokenType: "urn:ietf:params:oauth:token-type:jwt" },
      `{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"${jwt({ iss: "https://id.example.com" })}","expiration_time":1795780800}`
    ],
    ["env", {}, {}, "ACCESS_TOKEN=canary-1"],
    ["env", { accessToken: Redacted.make("a'b c") }, { variable: "T" }, `T='a'\\''b c'`],
    [
      "netrc",
      {},
      { host: Option.some("api.example.com:8443") },
      "machine api.example.com login oauth2 password canary-1"
    ]
  ])("%s of %j for %j", (format, changes, asked, text) => {
    expect(TokenFormats.render(format, token(changes), { ...request, ...asked })).toEqual(Either.right(text))
  })

  it.each<[TokenFormats.Format, Partial<HelperToken>, Partial<TokenFormats.Request>, RegExp]>([
    ["header-json", { tokenType: "DPoP" }, {}, /each request needs a proof/],
    ["git", { accessToken: Redacted.make("canary-1\nhost=evil.example") }, {}, /characters that git cannot/],
    ["bazel", { accessToken: Redacted.make("canary-1\r\nX: y") }, {}, /characters that Bazel cannot/],
    ["kubectl", {}, { execInfo: info("client.authentication.k8s.io/v1alpha1") }, /no version/],
    ["kubectl", {}, { execInfo: "canary-1" }, /no version/],
    ["docker", {}, {}, /names the server/],
    ["netrc", {}, {}, /names the server/],
    ["netrc", {}, { host: Option.some("a b") }, /is not a host/],
    [
      "netrc",
      { accessToken: Redacted.make("canary 1") },
      { host: Option.some("a.example") },
      /netrc file cannot carry/
    ],
    ["env", {}, { variable: "A B" }, /not a valid name/],
    ["gcloud", {}, {}, /not a JWT/],
    ["gcloud", {}, { googleTokenType: "urn:ietf:params:oauth:token-type:id_token" }, /no ID token/],
    ["gcloud", {}, { googleTokenType: "urn:ietf:params:oauth:token-type:saml2" }, /does not have/],
    ["gcloud", { idToken: Option.some(idToken) }, { now: noon }, /ID token has expired/]
  ])("%s of %j for %j is refused", (format, changes, asked, words) => {
    const refused = TokenFormats.render(format, token(changes), { ...request, ...asked })
    const failure = Either.getOrThrow(Either.flip(refused))
    expect(failure.message).toMatch(words)
    expect(failure.next).not.toBe("")
    expect(`${failure.message} ${failure.next}`).not.toContain("canary-1")
  })

  it("aws is left out, with the reason", () => {
    const refused = Either.getOrThrow(Either.flip(TokenFormats.parse("aws")))
    expect(refused.message).toContain("only an exchange at AWS STS")
    expect(Either.getOrThrow(Either.flip(TokenFormats.parse("toString"))).next).toContain("header-json, git")
  })
})

describe("git's requests", () => {
  // As git 2.39 and 2.46 send them, recorded with a helper that copies its input.
  const old = 'protocol=https\nhost=github.com\nwwwauth[]=Basic realm="GitHub"\n'
  const recent = `capability[]=authtype\ncapability[]=state\n${old}`

  it.each<[string, Partial<GitCredential.Request>]>([
    [old, { protocol: "https", host: "github.com", capabilities: new Set() }],
    [recent, { capabilities: new Set(["authtype", "state"]) }],
    [`${recent}\nhost=late.example\n`, { host: "github.com" }],
    ["capability[]=authtype\ncapability[]=\nprotocol=https\nhost=a\n", { capabilities: new Set() }],
    ["protocol=https\r\nhost=a\r\n\r\n", { host: "a" }],
    ["protocol=https\nhost=a\nusername=a=b\n", { username: Option.some("a=b") }],
    ["protocol=https\nhost=\n", { host: "" }]
  ])("%j", (text, expected) => {
    expect(Either.getOrThrow(GitCredential.parse(text))).toMatchObject(expected)
  })

  it("takes the token of an earlier answer, and hides it", () => {
    for (const key of ["password", "credential"]) {
      const parsed = Either.getOrThrow(GitCredential.parse(`${old}${key}=canary-1\n`))
      expect(Redacted.value(Option.getOrThrow(parsed.secret))).toBe("canary-1")
      expect(JSON.stringify(parsed)).not.toContain("canary-1")
    }
  })

  it.each(["", "\n", "host=a\n", "canary-1\n", "=canary-1\n", "protocol=https\0canary-1\nhost=a\n"])(
    "%j is no request, and is not quoted",
    (text) => {
      const { message, next } = Either.getOrThrow(Either.flip(GitCredential.parse(text)))
      expect(next).toContain("latchkey setup git")
      expect(message).not.toContain("canary-1")
    }
  )

  it.each([
    ["", false],
    ["protocol=https\n", false],
    ["protocol=https\n\n", true],
    ["protocol=https\r\n\r\n", true],
    ["\n", true]
  ])("%j is complete: %s", (text, complete) => {
    expect(GitCredential.isComplete(text)).toBe(complete)
  })

  it("a bearer token goes only to a git that announced that it can send one", () => {
    const options = { username: Option.none(), bearer: true }
    const asked = (text: string) => Either.getOrThrow(GitCredential.parse(text))
    expect(GitCredential.answer(token(), asked(recent), options)).toEqual(
      Either.right([
        "capability[]=authtype",
        "authtype=Bearer",
        "credential=canary-1",
        "ephemeral=1",
        "password_expiry_utc=1795780800"
      ])
    )
    const refused = Either.getOrThrow(Either.flip(GitCredential.answer(token(), asked(old), options)))
    expect(refused).toMatchObject({ message: "This git cannot send a bearer token." })
  })

  it("the user name of the request is kept, and one of more than a line is refused", () => {
    const asked = Either.getOrThrow(GitCredential.parse(`${old}username=ada\n`))
    const named = (username: Option.Option<string>) =>
      GitCredential.answer(token(endless), asked, { username, bearer: false })
    expect(named(Option.none())).toEqual(Either.right(["username=ada", "password=canary-1"]))
    expect(named(Option.some("bob"))).toEqual(Either.right(["username=bob", "password=canary-1"]))
    expect(Either.isLeft(named(Option.some("bob\npassword=x")))).toBe(true)
  })
})

describe("Bazel's requests", () => {
  it.each([
    ['{"uri":"https://cache.example.com/a?b#c"}', "https", "cache.example.com"],
    ['{"uri":"grpcs://example.com/com.example.package.Service/Method","later":1}', "grpcs", "example.com"],
    ['{"uri":"HTTPS://cache.example.com:8443"}', "https", "cache.example.com:8443"],
    // What a browser would read as a user name: the host is not the first part.
    ['{"uri":"https://cache.example.com@evil.example/"}', "https", "cache.example.com@evil.example"]
  ])("%s", (text, scheme, host) => {
    expect(BazelCredential.parse(text)).toEqual(Either.right({ scheme, host }))
  })

  it.each([
    "",
    "{",
    "null",
    "[]",
    '{"url":"https://a"}',
    '{"uri":1}',
    '{"uri":"canary-1"}',
    '{"uri":"https:///a"}'
  ])("%s is no request, and is not quoted", (text) => {
    const { message, next } = Either.getOrThrow(Either.flip(BazelCredential.parse(text)))
    expect(next).toContain("latchkey setup bazel")
    expect(message).not.toContain("canary-1")
  })
})

describe("the hosts that may have a token", () => {
  const served = Either.getOrThrow(
    ServedHost.parseAll([
      "GitHub.com:443=github/work",
      "git.example.com:8443=acme",
      "127.0.0.1:8080=local",
      "[::1]:81=v6"
    ])
  )

  it.each([
    ["https", "github.com", "github/work"],
    ["https", "GITHUB.COM:443", "github/work"],
    ["grpcs", "github.com", "github/work"],
    ["https", "git.example.com:8443", "acme"],
    ["http", "127.0.0.1:8080", "local"],
    ["http", "127.0.0.2:8080", "Absent"],
    ["http", "[::1]:81", "v6"],
    ["http", "github.com", "Insecure"],
    ["grpc", "github.com:443", "Absent"],
    ["https", "git.example.com", "Absent"],
    ["https", "github.com:8443", "Absent"],
    ["https", "github.com.evil.example", "Absent"],
    ["https", "evil.example", "Absent"],
    ["https", "sub.github.com", "Absent"],
    ["https", "github.com@evil.example", "Absent"],
    ["https", "github.com\\.evil.example", "Absent"],
    ["https", "github.com.", "Absent"],
    ["https", "", "Absent"],
    ["ssh", "github.com", "Absent"],
    ["toString", "github.com", "Absent"]
  ])("%s://%s: %s", (scheme, host, account) => {
    expect(Either.merge(Either.map(ServedHost.find(served, scheme, host), (found) => found.account))).toBe(
      account
    )
  })

  it.each([
    [[], /No host is named/],
    [["github.com"], /names no account/],
    [["github.com="], /names no account/],
    [["https://github.com=a"], /is not a host/],
    [["*.example.com=a"], /is not a host/],
    [["a.example=a", "A.example:443=b"], /named twice/]
  ])("%j is refused", (texts, words) => {
    expect(Either.getOrThrow(Either.flip(ServedHost.parseAll(texts))).message).toMatch(words)
  })

  it("Docker names a registry with or without a scheme and a path", () => {
    const hub = Either.getOrThrow(ServedHost.parseAll(["index.docker.io=hub", "localhost:5000=local"]))
    const found = (server: string) =>
      Either.merge(Either.map(DockerCredential.find(hub, server), ({ account }) => account))
    expect(["https://index.docker.io/v1/", "index.docker.io", "localhost:5000"].map(found)).toEqual([
      "hub",
      "hub",
      "local"
    ])
    expect(["http://index.docker.io/v1/", "evil.example/index.docker.io", ""].map(found)).toEqual([
      "Insecure",
      "Absent",
      "Absent"
    ])
    expect(DockerCredential.list(hub, Option.none())).toEqual({
      "index.docker.io": "oauth2",
      "localhost:5000": "oauth2"
    })
  })
})
