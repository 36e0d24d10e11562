/**
 * A process that shares one grant with others: it hands out the token, and what is stored, as its standard input asks.
 * It is written for Effect 3 and translated, so that a process of each edition does the same.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import type * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { createInterface } from "node:readline"

interface Settings {
  readonly kind: "file" | "sqlite" | "postgres"
  /** A path, or the URL of a database. */
  readonly location: string
  readonly tokenEndpoint: string
}

interface Answer {
  readonly access: string
  readonly refresh: string
  readonly obtainedAt: number
  readonly expiresAt: number
}

const { kind, location, tokenEndpoint } = JSON.parse(process.argv[2] ?? "") as Settings

const redeem = async (refreshToken: string): Promise<Answer | undefined> => {
  const response = await fetch(tokenEndpoint, { method: "POST", body: refreshToken })
  return response.ok ? ((await response.json()) as Answer) : undefined
}

const Refresher = Layer.succeed(
  TokenRefresher.TokenRefresher,
  TokenRefresher.make({
    refresh: (_, refreshToken) =>
      Effect.flatMap(
        Effect.promise(() => redeem(Redacted.value(refreshToken))),
        (answer) =>
          answer === undefined
            ? Effect.fail(
                new TokenRefresher.RefreshError({
                  reason: "GrantDead",
                  message: "The token was spent before"
                })
              )
            : Effect.succeed(
                Credentials.make({
                  accessToken: answer.access,
                  refreshToken: answer.refresh,
                  obtainedAt: answer.obtainedAt,
                  expiresAt: answer.expiresAt
                })
              )
      )
  })
)

type Stored = Layer.Layer<TokenStorage.TokenStorage | RefreshLease.RefreshLease, unknown>

/** Each module is loaded when it is used, with what it needs. */
const open = async (): Promise<Stored> => {
  switch (kind) {
    case "file":
      return (await import("@latchkey/storage/File")).layer({ path: location })
    case "sqlite":
      return (await import("@latchkey/storage/Sqlite")).layer({ account: "ada", filename: location })
    case "postgres":
      return (await import("@latchkey/storage/Postgres")).layer({
        account: "ada",
        client: { url: Redacted.make(location), maxConnections: 2 }
      })
  }
}

const Services = Layer.mergeAll(
  await open(),
  Refresher,
  TokenConfig.layer({ credentialsTtl: "1 minute", refreshGrace: 0 })
)
const scope = Effect.runSync(Scope.make())
const opened = Effect.flatMap(Layer.build(Services), (context) =>
  Effect.provide(
    Effect.all({ manager: TokenManager.make({ watch: false }), storage: TokenStorage.TokenStorage }),
    context
  )
)
const { manager, storage } = await Effect.runPromise(Scope.extend(opened, scope))

const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)

const commands: Readonly<Record<string, () => Promise<unknown>>> = {
  /** What a server gave at a login. */
  login: async () => {
    const answer = await redeem("login")
    if (answer === undefined) return { error: "no login" }
    const { access: accessToken, refresh: refreshToken, expiresAt, obtainedAt } = answer
    const credentials = Credentials.make({ accessToken, refreshToken, expiresAt, obtainedAt })
    await Effect.runPromise(manager.save(credentials))
    return {}
  },
  token: async () => ({ token: Redacted.value(await Effect.runPromise(manager.getAccessToken)) }),
  stored: async () => {
    const loaded = await Effect.runPromise(storage.load)
    return Option.match(loaded, {
      onNone: () => ({ error: "nothing is stored" }),
      onSome: ({ entry }) => ({ stored: Entry.toJson(entry) })
    })
  }
}

say({ node: process.version })
for await (const line of createInterface({ input: process.stdin })) {
  const command = commands[line]
  if (command === undefined) break
  say(await command().catch((error: unknown) => ({ error: String(error) })))
}
await Effect.runPromise(Scope.close(scope, Exit.void))
