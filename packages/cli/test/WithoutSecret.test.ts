/** The secret of a client is needed only to send a request. */
import { Credentials, Entry } from "@latchkey/core"
import { Effect, Exit, Scope } from "effect"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Desk from "./support/Desk.js"

let scope: Scope.CloseableScope
let desk: Desk.Desk

beforeEach(async () => {
  scope = Effect.runSync(Scope.make())
  desk = await Effect.runPromise(Scope.extend(Desk.make, scope))
})
afterEach(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const put = (path: string, value: unknown): string => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFileSync(path, JSON.stringify(value), { mode: 0o600 })
  return path
}

/** Nothing listens there: a request would fail. */
const nowhere = "http://127.0.0.1:1"

const sources = {
  "a variable that is not set": { from: "variable", name: "SVC_SECRET" },
  "a file that is not there": { from: "file", path: "/nonexistent/svc-secret" }
} as const
const homes = {
  "the store": { kind: "store", encryption: "none" },
  "its provider's file": { kind: "provider" }
} as const

/** An account whose token has some time left, in milliseconds; its secret cannot be had. */
const account = (
  clientSecret: (typeof sources)[keyof typeof sources],
  home: (typeof homes)[keyof typeof homes],
  left: number
): Promise<Desk.Ended> => {
  const own = join(desk.home, "own", "credentials.json")
  const authentication = "basic"
  put(join(desk.config, "providers.json"), {
    providers: {
      svc: {
        server: { tokenEndpoint: `${nowhere}/token`, revocationEndpoint: `${nowhere}/revoke` },
        client: { id: "svc", authentication },
        ...(home.kind === "provider" && { credentials: { file: own } })
      }
    }
  })
  put(join(desk.data, "accounts", "svc", "default.json"), {
    ...{ latchkey: 1, provider: "svc", name: "default", grant: "refresh" },
    ...{ home, settings: {}, clientSecret }
  })
  const expiresAt = Date.now() + left
  const entry = Entry.first(
    Credentials.make({
      accessToken: "canary-access",
      refreshToken: "canary-refresh",
      obtainedAt: expiresAt - 3_600_000,
      expiresAt
    })
  )
  if (home.kind === "provider") {
    put(own, Entry.toJson(entry))
    return Promise.resolve({ code: 0, stdout: "", stderr: "" })
  }
  return desk.run(`import svc ${put(join(desk.home, "grant.json"), Entry.toJson(entry))}`)
}

const cases = Object.entries(sources).flatMap(([from, source]) =>
  Object.entries(homes).map(([kept, home]) => ({ from, kept, source, home }))
)

describe.each(cases)("a secret in $from, of a grant in $kept", ({ home, source }) => {
  it.each([
    ["fresh", 3_600_000],
    ["due, and still valid", 60_000]
  ])("is not needed while the token is %s (F39)", async (_, left) => {
    expect(await account(source, home, left)).toMatchObject({ code: 0 })
    for (const command of ["token svc", "token svc --header", "token svc --json"]) {
      expect(await desk.run(command)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("canary-access")
      })
    }
    // Nothing was sent, so nothing is written down as sent.
    if (home.kind === "provider") {
      expect(JSON.parse(readFileSync(join(desk.home, "own", "credentials.json"), "utf8"))).not.toHaveProperty(
        "intent"
      )
    }
    const file = join(desk.home, "exported.json")
    for (const command of ["status svc", "list", "explain svc", `export svc ${file}`]) {
      expect(await desk.run(command), command).toMatchObject({ code: 0 })
    }
    expect(readFileSync(file, "utf8")).toContain("canary-refresh")
    expect(await desk.run("logout svc --local")).toMatchObject({ code: 0 })
  })

  it("is named where a request needs it, and nothing is lost", async () => {
    await account(source, home, -1000)
    const named = source.from === "variable" ? source.name : source.path
    for (const command of ["token svc", "refresh svc", "logout svc"]) {
      expect(await desk.run(command), command).toMatchObject({
        code: 6,
        stdout: "",
        stderr: expect.stringContaining(named)
      })
    }
    expect(await desk.run("explain svc")).toMatchObject({ code: 0 })
    const file = join(desk.home, "exported.json")
    expect(await desk.run(`export svc ${file}`)).toMatchObject({ code: 0 })
    expect(readFileSync(file, "utf8")).toContain("canary-refresh")
  })
})
