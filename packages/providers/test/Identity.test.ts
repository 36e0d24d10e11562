/**
 * One credentials file and several servers: a grant goes only to its own server, and only by its own client.
 */
import { describe, expect, it } from "@effect/vitest"
import { FetchHttpClient } from "@effect/platform"
import { Credentials, Entry, GrantIdentity, TokenManager } from "@latchkey/core"
import {
  BuiltIn,
  Identity,
  Provider,
  Providers,
  type ProviderSettings,
  Refresher,
  Session
} from "@latchkey/providers"
import { Effect, Either, Layer, Option, Redacted, type Scope } from "effect"
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { answering } from "../../oauth/test/Memory.js"
import * as RealServer from "../../oauth/test/Provider.js"
import { Mismatch } from "@latchkey/core/internal-api"
import * as Edition from "../../core/test/support/Edition.js"
import { leaves } from "../src/internal/variables.js"
import { variableName } from "../src/internal/variableName.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "latchkey-identity-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

type Variables = Readonly<Record<string, string>>

/** What a program does that starts with these settings, and ends. */
const program = <A, E>(
  variables: Variables,
  use: (manager: TokenManager.Manager) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.flatMap(TokenManager.TokenManager, use).pipe(
    Effect.provide(
      Session.layerConfig().pipe(
        Layer.provide(FetchHttpClient.layer),
        Layer.provide(Edition.layerVariables(variables)),
        Layer.orDie
      )
    )
  )

/** A server that must not be asked, and how often it was. */
const foreign: Effect.Effect<{ readonly url: string; readonly asked: () => number }, never, Scope.Scope> =
  Effect.gen(function* () {
    let count = 0
    const { url } = yield* RealServer.listen((_, response) => {
      count++
      response.writeHead(400, { "content-type": "application/json" }).end('{"error":"invalid_grant"}')
    })
    return { url, asked: () => count }
  })

const contents = (file: string) => ({ bytes: readFileSync(file, "hex"), mtime: statSync(file).mtimeMs })

describe("a credentials file, and a program that is set to another server or client (F2)", () => {
  const setUp = Effect.gen(function* () {
    const file = join(yield* folder, "credentials.json")
    const ours = yield* RealServer.start()
    const theirs = yield* foreign
    const settings = {
      OAUTH_ISSUER: ours.issuer,
      OAUTH_CLIENT_ID: RealServer.publicClient.client_id,
      OAUTH_CREDENTIALS_FILE: file,
      AUTH__CREDENTIALS_TTL_SECONDS: "0"
    }
    const grant = yield* ours.grant()
    yield* program(settings, (manager) => manager.save(grant))
    return { file, grant, ours, settings, theirs }
  })

  it.scopedLive("is refused with both names, no request is sent, and the file keeps its bytes", () =>
    Effect.gen(function* () {
      const { file, ours, settings, theirs } = yield* setUp
      const cases: ReadonlyArray<readonly [Variables, string, string, string]> = [
        [{ OAUTH_ISSUER: theirs.url }, "Server", ours.issuer, theirs.url],
        [{ OAUTH_TOKEN_ENDPOINT: `${theirs.url}/token` }, "Server", ours.issuer, `${theirs.url}/token`],
        [
          { OAUTH_ISSUER: theirs.url, OAUTH_TOKEN_ENDPOINT: `${ours.issuer}/token` },
          "Server",
          ours.issuer,
          theirs.url
        ],
        [{ OAUTH_CLIENT_ID: "another" }, "Client", RealServer.publicClient.client_id, "another"],
        [
          { OAUTH_GRANT: "client_credentials", OAUTH_CLIENT_SECRET: "hush" },
          "GrantType",
          "a user's grant",
          "client_credentials"
        ]
      ]
      const before = contents(file)
      const sent = ours.requests.length
      for (const [changes, reason, stored, current] of cases) {
        for (const ask of [
          (m: TokenManager.Manager) => m.getAccessToken,
          (m: TokenManager.Manager) => m.refresh,
          (m: TokenManager.Manager) => Effect.asVoid(m.peekAccessToken)
        ]) {
          const error = yield* Effect.flip(
            program({ ...settings, ...changes }, (m): Effect.Effect<unknown, unknown> => ask(m))
          )
          expect(error).toMatchObject({ _tag: "GrantMismatch", reason, location: file })
          expect(String((error as Error).message)).toContain(stored)
          expect(String((error as Error).message)).toContain(current)
          expect(contents(file)).toEqual(before)
        }
      }
      expect(theirs.asked()).toBe(0)
      expect(ours.requests.length).toBe(sent)
      // And the grant is as good as before.
      const token = yield* program(settings, (manager) => manager.refresh)
      expect(Redacted.value(token)).not.toBe("")
      expect(ours.tokenRequests()).toBe(1)
    })
  )

  it.scopedLive("of an earlier version is bound by its first refresh", () =>
    Effect.gen(function* () {
      const { file, grant, settings, theirs } = yield* setUp
      const { identity: _, ...older } = Entry.toJson(Entry.first(grant))
      writeFileSync(file, JSON.stringify(older))
      yield* program(settings, (manager) => manager.refresh)
      expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
        latchkey: 1,
        identity: {
          issuer: settings.OAUTH_ISSUER,
          clientId: settings.OAUTH_CLIENT_ID,
          grantType: "refresh_token"
        }
      })
      const error = yield* Effect.flip(
        program({ ...settings, OAUTH_ISSUER: theirs.url }, (manager) => manager.refresh)
      )
      expect(error).toMatchObject({ _tag: "GrantMismatch", reason: "Server" })
      expect(theirs.asked()).toBe(0)
    })
  )

  it.scopedLive("of an earlier version with a user's grant is not for client credentials", () =>
    Effect.gen(function* () {
      const { file, grant, ours, settings } = yield* setUp
      const { identity: _, ...older } = Entry.toJson(Entry.first(grant))
      writeFileSync(file, JSON.stringify(older))
      const before = contents(file)
      const error = yield* Effect.flip(
        program(
          { ...settings, OAUTH_GRANT: "client_credentials", OAUTH_CLIENT_SECRET: "hush" },
          (manager) => manager.getAccessToken
        )
      )
      expect(error).toMatchObject({ _tag: "GrantMismatch", reason: "GrantType" })
      expect(contents(file)).toEqual(before)
      expect(ours.tokenRequests()).toBe(0)
    })
  )

  it.scopedLive("takes a login of another server or account only where it is asked to (F3)", () =>
    Effect.gen(function* () {
      const { file, settings, theirs } = yield* setUp
      const elsewhere = { ...settings, OAUTH_ISSUER: theirs.url }
      const login = (accountId: string) =>
        Credentials.make({ accessToken: `at-${accountId}`, refreshToken: `rt-${accountId}`, accountId })
      const before = contents(file)
      expect(yield* Effect.flip(program(elsewhere, (m) => m.save(login("ada"))))).toMatchObject({
        _tag: "GrantMismatch",
        reason: "Server"
      })
      expect(contents(file)).toEqual(before)
      yield* program(elsewhere, (m) => m.save(login("ada"), { replace: true }))
      expect(yield* Effect.flip(program(elsewhere, (m) => m.save(login("bob"))))).toMatchObject({
        reason: "Account",
        stored: "ada",
        current: "bob"
      })
      yield* program(elsewhere, (m) => m.save(login("bob"), { replace: true }))
      expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
        accountId: "bob",
        identity: { issuer: theirs.url }
      })
      expect(theirs.asked()).toBe(0)
    })
  )
})

const refresherOf = (settings: unknown, id = "acme") =>
  Effect.gen(function* () {
    const provider = yield* Provider.fromSettings(id, settings)
    return yield* Refresher.make(provider)
  }).pipe(Effect.provide(answering({ status: 500 }).layer))

describe("the identity of a provider's refresher", () => {
  it.effect("is its server and its client, however its grants are renewed", () =>
    Effect.gen(function* () {
      const server = { tokenEndpoint: "https://id.example/token" }
      const client = { id: "app" }
      const identities = yield* Effect.all({
        user: refresherOf({ server, client }),
        issuer: refresherOf({ server: { issuer: "https://id.example" }, client }),
        none: refresherOf({ server, client, refresh: { by: "none" } }),
        client: refresherOf({ server, client, refresh: { by: "clientCredentials" } }),
        exchange: refresherOf({
          server,
          client,
          refresh: { by: "exchange", endpoint: "https://api.example/t" }
        })
      })
      const own = { tokenEndpoint: server.tokenEndpoint, clientId: "app" }
      expect(Object.entries(identities).map(([name, { identity }]) => [name, identity])).toEqual([
        ["user", GrantIdentity.make(own)],
        ["issuer", GrantIdentity.make({ issuer: "https://id.example", clientId: "app" })],
        ["none", GrantIdentity.make(own)],
        ["client", GrantIdentity.make({ ...own, grantType: "client_credentials" })],
        [
          "exchange",
          GrantIdentity.make({
            issuer: server.tokenEndpoint,
            tokenEndpoint: "https://api.example/t",
            clientId: "app"
          })
        ]
      ])
    })
  )

  it.effect("is that of the client which a file of Claude Code names", () =>
    Effect.gen(function* () {
      const refresher = yield* refresherOf(BuiltIn.claude, "claude")
      const clientId = refresher.clientIdIn!
      const grant = (extras: object) => Credentials.make({ accessToken: "at", extras: { ...extras } })
      expect(clientId(grant({ claudeAiOauth: { clientId: "theirs" } }))).toEqual(Option.some("theirs"))
      expect(clientId(grant({}))).toEqual(Option.none())
    })
  )

  it.effect("knows the token endpoint that Claude had before, and nobody's who replaces it", () =>
    Effect.gen(function* () {
      const former = GrantIdentity.make({
        tokenEndpoint: "https://console.anthropic.com/v1/oauth/token",
        clientId: BuiltIn.claude.client!.id!
      })
      const mismatch = (changes?: Readonly<Record<string, unknown>>) =>
        Effect.gen(function* () {
          const registry = yield* Providers.make()
          const { formerly, identity } = yield* Refresher.make(yield* registry.get("claude", changes))
          const stored = { identity: Option.some(former), hasRefreshToken: true }
          return Option.map(Mismatch.compare(stored, identity!, formerly), (m) => m.difference)
        }).pipe(Effect.provide(answering({ status: 500 }).layer))
      expect(yield* mismatch()).toEqual(Option.none())
      expect(yield* mismatch({ server: { tokenEndpoint: "https://evil.example/token" } })).toEqual(
        Option.some("Server")
      )
      expect(yield* mismatch({ server: { issuer: "https://evil.example" } })).toEqual(Option.some("Server"))
      expect(
        yield* mismatch({
          server: {
            tokenEndpoint: "https://mine.example/token",
            formerly: ["https://console.anthropic.com/v1/oauth/token"]
          }
        })
      ).toEqual(Option.none())
    })
  )

  it("may be given names of before in its settings, for a discovered server too", () => {
    const provider = Provider.fromSettings("acme", {
      server: { issuer: "https://new.example", formerly: ["https://old.example"] }
    })
    expect(Either.getOrThrow(provider).server).toEqual({
      issuer: "https://new.example",
      formerly: ["https://old.example"]
    })
  })
})

describe("the origins of settings that are not checked", () => {
  /** The values of an origin, with the client that a grant of Claude's own program may name. */
  const values = ({ clientIdIn, formerly, identity }: ReturnType<typeof Identity.of>) => {
    const extras = { claudeAiOauth: { clientId: "another" } }
    const credentials = Credentials.make({ accessToken: "a", extras })
    return { formerly, identity, clientId: clientIdIn?.(credentials) }
  }
  const checked = (provider: Provider.Provider) => ({
    user: values(Identity.of(provider)),
    client: values(Identity.ofClient(provider))
  })
  const builtIn: Readonly<Record<string, ProviderSettings.Encoded>> = BuiltIn.providers

  it.each(Object.entries(builtIn))("are those of the provider %s", (id, settings) => {
    const { client, user } = Identity.ofSettings(settings)
    const provider = Either.getOrThrow(Provider.fromSettings(id, settings))
    expect({ user: values(user), client: values(client) }).toEqual(checked(provider))
  })

  it.effect.each(["claude", "copilot"])("of %s change only with the variables that are named", (id) =>
    Effect.gen(function* () {
      const before = checked(Either.getOrThrow(Provider.fromSettings(id, builtIn[id])))
      const texts = ["https://id.example/token", "none", "file", "clientCredentials", "latchkey"]
      const changing = new Set<string>()
      for (const { path } of leaves) {
        const name = variableName(id, path)
        for (const text of texts) {
          const registry = yield* Providers.make({ variables: true })
          const found = yield* Effect.either(registry.get(id)).pipe(
            Effect.provide(Edition.layerVariables({ [name]: text }))
          )
          if (Either.isLeft(found)) continue
          if (JSON.stringify(checked(found.right)) !== JSON.stringify(before)) changing.add(name)
        }
      }
      expect(changing.size).toBeGreaterThan(3)
      expect(Identity.variables(id)).toEqual(expect.arrayContaining([...changing]))
    })
  )
})
