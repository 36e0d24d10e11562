import { ClientAuth } from "@latchkey/oauth"
import { Either, Option, Redacted } from "effect"
import { describe, expect, it } from "vitest"
import * as Registration from "../src/Registration.js"

const issuer = "https://auth.example.com"
const redirectUris = ["http://127.0.0.1:20001/callback"]
const document = "https://app.example.com/client.json"
const secret = Redacted.make("s3cret")

const dynamic = new Registration.Registered({
  way: "Dynamic",
  clientId: "registered",
  method: "none",
  secret: Option.none(),
  redirectUris,
  grantTypes: ["authorization_code", "refresh_token"],
  secretExpiresAt: Option.none()
})

const known = {
  options: {},
  metadata: {
    issuer,
    registration_endpoint: `${issuer}/register`,
    client_id_metadata_document_supported: true
  },
  stored: Option.none<Registration.Registered>(),
  redirectUris,
  grantTypes: ["authorization_code", "refresh_token"],
  now: 1000
} satisfies Registration.Known

const plan = (change: Partial<Registration.Known> = {}) => Registration.plan({ ...known, ...change })

describe("a client is", () => {
  it("the one that is registered already, before all others", () => {
    const options = {
      client: { clientId: "mine", auth: ClientAuth.post(secret) },
      clientMetadataUrl: document
    }
    expect(plan({ options, stored: Option.some(dynamic) })).toMatchObject({
      _tag: "Use",
      registered: {
        way: "PreRegistered",
        clientId: "mine",
        method: "client_secret_post",
        secret: Option.none()
      }
    })
    const basic = { client: { clientId: "mine", auth: ClientAuth.basic(secret), issuer } }
    expect(plan({ options: basic })).toMatchObject({ registered: { method: "client_secret_basic" } })
    expect(plan({ options: { client: { clientId: "mine" } } })).toMatchObject({
      registered: { method: "none" }
    })
  })

  it("none, where it is registered at another server", () => {
    const client = { clientId: "mine", issuer: "https://before.example.com" }
    expect(plan({ options: { client } })).toMatchObject({
      _tag: "Refuse",
      problem: expect.stringContaining("https://before.example.com")
    })
  })

  it("its metadata document, where the server takes one", () => {
    const options = { clientMetadataUrl: document }
    expect(plan({ options, stored: Option.some(dynamic) })).toMatchObject({
      _tag: "Use",
      registered: { way: "Document", clientId: document }
    })
    const without = { ...known.metadata, client_id_metadata_document_supported: false }
    expect(plan({ options, metadata: without })).toMatchObject({ _tag: "Register" })
  })

  it.each([
    "http://app.example.com/c.json",
    "https://app.example.com",
    "https://app.example.com/#x",
    "client.json"
  ])("no document at %s", (clientMetadataUrl) => {
    expect(plan({ options: { clientMetadataUrl } })).toMatchObject({ _tag: "Refuse" })
  })

  it("the one that was registered before, while it serves", () => {
    expect(plan({ stored: Option.some(dynamic) })).toEqual({ _tag: "Use", registered: dynamic })
    const changed = (fields: Partial<Registration.Registered>) =>
      plan({ stored: Option.some(new Registration.Registered({ ...dynamic, ...fields })) })._tag
    expect(changed({ redirectUris: ["http://127.0.0.1:1/callback"] })).toBe("Register")
    expect(changed({ redirectUris: [...redirectUris, "http://127.0.0.1:1/callback"] })).toBe("Use")
    expect(changed({ grantTypes: ["device_code", "refresh_token"] })).toBe("Register")
    expect(changed({ grantTypes: [...known.grantTypes, "device_code"] })).toBe("Use")
    expect(changed({ secretExpiresAt: Option.some(1000) })).toBe("Register")
    expect(changed({ secretExpiresAt: Option.some(1001) })).toBe("Use")
    expect(changed({ way: "Document" })).toBe("Register")
  })

  it("registered dynamically", () => {
    expect(plan()).toEqual({
      _tag: "Register",
      endpoint: `${issuer}/register`,
      body: {
        client_name: "Latchkey",
        redirect_uris: redirectUris,
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        token_endpoint_auth_method: "none",
        application_type: "native"
      }
    })
  })

  it.each<[ReadonlyArray<string>, string]>([
    [["http://127.0.0.1/callback", "http://localhost:3000/x", "http://[::1]/x"], "native"],
    [["com.example.app:/callback"], "native"],
    [["https://app.example.com/callback"], "web"],
    [["http://127.0.0.1/callback", "https://app.example.com/callback"], "web"],
    [[], "native"]
  ])("with %j an application of type %s", (uris, type) => {
    const made = plan({
      redirectUris: uris,
      options: { clientName: "App", clientMetadata: { logo_uri: "x" } }
    })
    expect(made).toMatchObject({ body: { application_type: type, client_name: "App", logo_uri: "x" } })
  })

  it.each<[Array<string> | undefined, string]>([
    [undefined, "none"],
    [["client_secret_basic", "none"], "none"],
    [["client_secret_post", "client_secret_basic"], "client_secret_basic"],
    [["client_secret_post"], "client_secret_post"],
    [["private_key_jwt"], "none"]
  ])("where the server takes %j, with %s", (supported, method) => {
    const metadata = {
      ...known.metadata,
      ...(supported !== undefined && { token_endpoint_auth_methods_supported: supported })
    }
    expect(plan({ metadata })).toMatchObject({ body: { token_endpoint_auth_method: method } })
  })

  it("none, where the server takes none, in words", () => {
    expect(plan({ metadata: { issuer } })).toMatchObject({
      _tag: "Refuse",
      problem: `${issuer} does not support dynamic registration: register a client there, and set it as \`client\``
    })
    const unusable = { issuer, unusable_fields: { registration_endpoint: "is no URL" } }
    expect(plan({ metadata: unusable })).toMatchObject({ problem: expect.stringContaining("is no URL") })
  })
})

describe("the answer to a registration", () => {
  const read = (response: Readonly<Record<string, unknown>>, supported?: Array<string>) =>
    Registration.fromResponse(response, {
      redirectUris,
      grantTypes: known.grantTypes,
      metadata: { issuer, ...(supported && { token_endpoint_auth_methods_supported: supported }) }
    })

  it.each<[string, object, Array<string> | undefined, object]>([
    ["a public client", { client_id: "a" }, undefined, { method: "none", secret: Option.none() }],
    ["a secret", { client_id: "a", client_secret: "s" }, undefined, { method: "client_secret_basic" }],
    [
      "a secret, for post",
      { client_id: "a", client_secret: "s" },
      ["client_secret_post"],
      { method: "client_secret_post" }
    ],
    [
      "a secret that the client does not use",
      { client_id: "a", client_secret: "s", token_endpoint_auth_method: "none" },
      undefined,
      { method: "none", secret: Option.none() }
    ],
    [
      "a secret that lasts",
      { client_id: "a", client_secret: "s", client_secret_expires_at: 0 },
      undefined,
      { secretExpiresAt: Option.none() }
    ],
    [
      "a secret that does not",
      { client_id: "a", client_secret: "s", client_secret_expires_at: 5 },
      undefined,
      { secretExpiresAt: Option.some(5000) }
    ]
  ])("has %s", (_, response, supported, expected) => {
    expect(Either.getOrThrow(read({ ...response }, supported))).toMatchObject(expected)
  })

  it.each<[string, object]>([
    ["no client_id", {}],
    ["an empty client_id", { client_id: "" }],
    ["a secret that is no text", { client_id: "a", client_secret: 1 }],
    [
      "no secret, though it is to be used",
      { client_id: "a", token_endpoint_auth_method: "client_secret_basic" }
    ],
    [
      "a method that is not known",
      { client_id: "a", client_secret: "s", token_endpoint_auth_method: "tls_client_auth" }
    ]
  ])("with %s is of no use", (_, response) => {
    expect(Either.isLeft(read({ ...response }))).toBe(true)
  })

  it("gives the client of the requests", () => {
    const post = Either.getOrThrow(
      read({ client_id: "a", client_secret: "s", token_endpoint_auth_method: "client_secret_post" })
    )
    expect(Registration.toClient(post, {})).toMatchObject({
      clientId: "a",
      auth: { _tag: "ClientSecretPost" }
    })
    expect(Registration.toClient(dynamic, {})).toMatchObject({
      clientId: "registered",
      auth: { _tag: "None" }
    })
    const options = { client: { clientId: "mine", auth: ClientAuth.basic(secret) } }
    const mine = new Registration.Registered({ ...dynamic, way: "PreRegistered", clientId: "mine" })
    expect(Registration.toClient(mine, options)).toMatchObject({ auth: { _tag: "ClientSecretBasic" } })
    expect(Registration.toClient(mine, {})).toMatchObject({ auth: { _tag: "None" } })
  })
})

it("only a dynamically registered client can be registered again", () => {
  const forgets = (way: Registration.Registered["way"], code: string | undefined) =>
    Registration.isForgotten(new Registration.Registered({ ...dynamic, way }), code)
  expect(forgets("Dynamic", "invalid_client")).toBe(true)
  expect(forgets("Dynamic", "unauthorized_client")).toBe(true)
  expect(forgets("Dynamic", "invalid_grant")).toBe(false)
  expect(forgets("Dynamic", undefined)).toBe(false)
  expect(forgets("Document", "invalid_client")).toBe(false)
  expect(forgets("PreRegistered", "invalid_client")).toBe(false)
})
