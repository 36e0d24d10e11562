/** The identity of a workload as data: from files and small servers that behave like those of the platforms. */
import { FetchHttpClient } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import { Provider, Refresher } from "@latchkey/providers"
import { ClientAuth, Revocation, WorkloadIdentity } from "@latchkey/oauth"
import { Effect, Either, Fiber, Option, Redacted, TestClock } from "effect"
import { execFileSync } from "node:child_process"
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import { withVariables } from "../../core/test/support/Edition.js"

interface Asked {
  readonly url: string
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

const secret = "canary-runner-token"
const jwt = "canary.header.signature"

/** A platform and an authorization server in one. */
const platform = Effect.acquireRelease(
  Effect.promise(async () => {
    const asked: Array<Asked> = []
    const answer = async (request: Http.IncomingMessage, response: Http.ServerResponse) => {
      let body = ""
      for await (const part of request) body += String(part)
      const url = request.url ?? ""
      asked.push({ url, headers: request.headers, body })
      const json = (status: number, value: unknown) =>
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
      if (url.startsWith("/computeMetadata/v1/instance/service-accounts/default/identity?")) {
        if (request.headers["metadata-flavor"] !== "Google") return response.writeHead(403).end()
        return response.writeHead(200, { "metadata-flavor": "Google" }).end(jwt)
      }
      if (url.startsWith("/metadata/identity/oauth2/token?")) {
        return request.headers["metadata"] === "true"
          ? json(200, { access_token: jwt, expires_in: "3599" })
          : json(400, { error: "invalid_request" })
      }
      if (url.startsWith("/github?")) {
        return request.headers.authorization === `Bearer ${secret}`
          ? json(200, { value: jwt })
          : json(401, {})
      }
      if (url.startsWith("/moved?")) return response.writeHead(302, { location: "/stolen" }).end()
      if (url.startsWith("/broken?")) return response.writeHead(503).end()
      if (url.startsWith("/huge?")) return response.writeHead(200).end(`{"value":"${"x".repeat(100_000)}"}`)
      if (url.startsWith("/page?")) return response.writeHead(200).end("<p>Log in to the network</p>")
      if (url === "/token") return json(200, { access_token: "at", token_type: "Bearer", expires_in: 60 })
      return response.writeHead(200).end("stolen")
    }
    const server = Http.createServer((request, response) => void answer(request, response))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const folder = mkdtempSync(join(tmpdir(), "latchkey-workload-"))
    return { asked, server, folder, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }),
  ({ folder, server }) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
      rmSync(folder, { recursive: true })
    })
)

const read = (source: WorkloadIdentity.Source, variables: Readonly<Record<string, string>> = {}) =>
  withVariables(variables)(Effect.provide(WorkloadIdentity.read(source), FetchHttpClient.layer))

const github = (origin: string, path = "/github?api-version=2.0") => ({
  ACTIONS_ID_TOKEN_REQUEST_URL: `${origin}${path}`,
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: secret
})

describe("the plan", () => {
  it.each([
    [{ from: "file" }, {}, "path is not set"],
    [{ from: "file", variable: "TOKEN_FILE" }, {}, "TOKEN_FILE is not set"],
    [{ from: "google" }, {}, "audience is missing"],
    [{ from: "githubActions", audience: "a" }, {}, "no job of GitHub Actions"],
    [{ from: "githubActions", audience: "a" }, github("http://evil.example"), "no job of GitHub Actions"],
    [{ from: "google", audience: "a" }, { GCE_METADATA_HOST: "evil.example" }, "neither the metadata server"],
    [{ from: "google", audience: "a" }, { GCE_METADATA_HOST: "169.254.169.254.evil.example" }, "neither"],
    [{ from: "google", audience: "a" }, { GCE_METADATA_HOST: "127.0.0.1@evil.example" }, "neither"],
    [
      { from: "azure", audience: "a" },
      { AZURE_POD_IDENTITY_AUTHORITY_HOST: "https://169.254.169.253/" },
      "neither the metadata server"
    ]
  ] as const)("of %j with %j is a problem: %s", (source, variables, words) => {
    const problem = Either.getOrThrow(Either.flip(WorkloadIdentity.plan(source, variables)))
    expect(problem).toContain(words)
    expect(problem).not.toContain("evil")
  })

  it("goes to the link-local address of the cloud", () => {
    const urls = (["google", "azure"] as const).map((from) => {
      const source = { from, audience: "https://sts.example/a b", clientId: "c" }
      const planned = Either.getOrThrow(WorkloadIdentity.plan(source, {}))
      return planned._tag === "Request" ? planned.url : ""
    })
    expect(urls).toEqual([
      "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fsts.example%2Fa+b&format=full",
      "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fsts.example%2Fa+b&client_id=c"
    ])
  })
})

describe("the token", () => {
  it.scopedLive("comes from a file, each time anew", () =>
    Effect.gen(function* () {
      const { folder } = yield* platform
      const path = join(folder, "token")
      const missing = yield* Effect.flip(read({ from: "file", path }))
      expect(missing).toMatchObject({ reason: "NotSent" })
      writeFileSync(path, `${jwt}\n`)
      expect(
        Redacted.value(
          yield* read(
            { from: "file", variable: "AZURE_FEDERATED_TOKEN_FILE" },
            { AZURE_FEDERATED_TOKEN_FILE: path }
          )
        )
      ).toBe(jwt)
      writeFileSync(path, "second.token")
      expect(Redacted.value(yield* read({ from: "file", path }))).toBe("second.token")
      writeFileSync(path, "canary two words")
      const wrong = yield* Effect.flip(read({ from: "file", path }))
      expect(wrong.message).toContain("holds no token")
      expect(wrong.message).not.toContain("canary")
    })
  )

  it.scoped("is not waited for longer than ten seconds, although its file never ends", () =>
    Effect.gen(function* () {
      const { folder } = yield* platform
      const path = join(folder, "pipe")
      execFileSync("mkfifo", [path])
      const reading = yield* Effect.fork(Effect.flip(read({ from: "file", path })))
      yield* TestClock.adjust("10 seconds")
      expect((yield* Fiber.join(reading)).message).toContain("could not be fetched in time")
      closeSync(openSync(path, "r+"))
    })
  )

  it.scopedLive("comes from the endpoint of the platform", () =>
    Effect.gen(function* () {
      const { asked, origin } = yield* platform
      const audience = "https://sts.example"
      const tokens = [
        yield* read({ from: "githubActions", audience }, github(origin)),
        yield* read({ from: "google", audience }, { GCE_METADATA_HOST: origin.slice("http://".length) }),
        yield* read({ from: "azure", audience }, { AZURE_POD_IDENTITY_AUTHORITY_HOST: origin })
      ]
      expect(tokens.map(Redacted.value)).toEqual([jwt, jwt, jwt])
      expect(asked[0]!.url).toBe("/github?api-version=2.0&audience=https%3A%2F%2Fsts.example")
    })
  )

  it.scopedLive.each([
    ["/moved?", "Misconfigured"],
    ["/broken?", "NotSent"],
    ["/huge?", "Misconfigured"],
    ["/page?", "Misconfigured"]
  ] as const)("is none if the endpoint answers like %s", ([path, reason]) =>
    Effect.gen(function* () {
      const { asked, origin } = yield* platform
      const error = yield* Effect.flip(read({ from: "githubActions", audience: "a" }, github(origin, path)))
      expect(error.reason).toBe(reason)
      expect(inspect(error) + String(error)).not.toContain("canary")
      expect(asked.map(({ url }) => url)).toEqual([`${path}audience=a`])
    })
  )

  it.scopedLive("is none if another server answers in place of Google's", () =>
    Effect.gen(function* () {
      const { origin, server } = yield* platform
      server.removeAllListeners("request")
      server.on("request", (_, response: Http.ServerResponse) => void response.end(jwt))
      const error = yield* Effect.flip(read({ from: "google", audience: "a" }, { GCE_METADATA_HOST: origin }))
      expect(error.message).toContain("is no metadata server")
    })
  )
})

describe("a provider", () => {
  it.scopedLive("authenticates its client with it, in its settings alone", () =>
    Effect.gen(function* () {
      const { asked, folder, origin } = yield* platform
      const path = join(folder, "token")
      writeFileSync(path, jwt)
      const provider = yield* Provider.fromSettings("acme", {
        server: { tokenEndpoint: `${origin}/token` },
        client: { id: "app", assertion: { from: "file", path } },
        refresh: { by: "clientCredentials" },
        scopes: ["read"]
      })
      const refresher = yield* Refresher.make(provider)
      const credentials = yield* refresher.refresh(Option.none())
      expect(Redacted.value(credentials.accessToken)).toBe("at")
      expect(Object.fromEntries(new URLSearchParams(asked[0]!.body))).toEqual({
        grant_type: "client_credentials",
        scope: "read",
        client_id: "app",
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion: jwt
      })
      expect(asked[0]!.headers).not.toHaveProperty("authorization")
      // Without it nothing is sent, and the next refresh reads it again.
      rmSync(path)
      expect(yield* Effect.flip(refresher.refresh(Option.none()))).toMatchObject({ reason: "NotSent" })
      expect(asked).toHaveLength(1)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.effect("needs a source for it, and sends it to the token endpoint only", () =>
    Effect.gen(function* () {
      const wrong = {
        server: { tokenEndpoint: "https://id.example/token" },
        client: { id: "a", authentication: "assertion" }
      }
      const problem = Either.getOrThrow(Either.flip(Provider.fromSettings("acme", wrong)))
      expect(problem.message).toContain("client.assertion is missing")
      const auth = ClientAuth.assertion(Effect.succeed(Redacted.make(jwt)))
      const server = {
        tokenEndpoint: "https://id.example/token",
        revocationEndpoint: "https://id.example/revoke"
      }
      const refused = yield* Effect.flip(Revocation.make({ server, client: { clientId: "a", auth } }))
      expect(refused.message).toContain("only token requests can carry")
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})
