/** The measurements of `npm run bench`. Absolute times are this machine's and of no meaning; ratios are. */
import { FetchHttpClient, type HttpClient } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import {
  Credentials,
  RefreshLease,
  TokenConfig,
  TokenManager,
  TokenRefresher,
  TokenStorage
} from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import { RefreshToken } from "@latchkey/oauth"
import { Clock, Context, Effect, Layer, Option, Redacted, Ref, Scope } from "effect"
import { compare, type Measured, table } from "../Measure.js"

const hour = 3_600_000
const asJson = process.argv.includes("--json")
const results: Record<string, ReadonlyArray<Measured>> = {}
const tell = (title: string, unit: "ns" | "µs", rows: ReadonlyArray<Measured>): void => {
  results[title] = rows
  if (!asJson) process.stdout.write(`${table(title, unit, rows)}\n\n`)
}

const scope = Effect.runSync(Scope.make())
const local = Layer.mergeAll(TokenStorage.layerMemory, RefreshLease.layerProcess)

const fresh = await Effect.runPromise(
  Effect.gen(function* () {
    const manager = yield* TokenManager.make({ watch: false })
    const now = yield* Clock.currentTimeMillis
    yield* manager.save(
      Credentials.make({ accessToken: "a", refreshToken: "r", obtainedAt: now, expiresAt: now + 24 * hour })
    )
    yield* manager.getAccessToken
    return manager
  }).pipe(
    Scope.extend(scope),
    Effect.provide(
      Layer.mergeAll(local, TokenConfig.layer({ credentialsTtl: "1 day" }), ScriptedRefresher.layer([]))
    )
  )
)

/** A loop in one fiber, so that what is measured is the step and not the start of a fiber. */
const loop =
  <E>(step: Effect.Effect<unknown, E>) =>
  (n: number): Promise<void> => {
    let i = 0
    return Effect.runPromise(
      Effect.orDie(Effect.whileLoop({ while: () => i < n, body: () => step, step: () => void i++ }))
    )
  }

const cell = Effect.runSync(Ref.make({ token: Redacted.make("a"), expiresAt: Number.MAX_SAFE_INTEGER }))
const generator = Effect.gen(function* () {
  const { expiresAt, token } = yield* Ref.get(cell)
  const now = yield* Clock.currentTimeMillis
  return now < expiresAt ? token : yield* Effect.dieMessage("expired")
})
const semaphore = Effect.unsafeMakeSemaphore(1)
const ttlCache = Effect.runSync(Effect.cachedWithTTL(Effect.succeed(Redacted.make("a")), "1 hour"))

tell(
  "A token that is fresh, in one fiber",
  "ns",
  await compare(
    {
      "an empty step": loop(Effect.void),
      "latchkey getAccessToken": loop(fresh.getAccessToken),
      "Effect.gen over Ref and Clock": loop(generator),
      "the same behind a semaphore": loop(semaphore.withPermits(1)(generator)),
      "Effect.cachedWithTTL": loop(ttlCache)
    },
    { operations: 20_000, rounds: 15 }
  )
)

const bare = { token: "a", expiresAt: Number.MAX_SAFE_INTEGER }
let sink = ""
tell(
  "A token that is fresh, outside Effect",
  "ns",
  await compare(
    {
      "a bare cache": (n) => {
        for (let i = 0; i < n; i++) if (performance.now() < bare.expiresAt) sink = bare.token
      },
      "latchkey unsafePeek": (n) => {
        for (let i = 0; i < n; i++) {
          const peeked = fresh.unsafePeek()
          if (Option.isSome(peeked)) sink = Redacted.value(peeked.value)
        }
      }
    },
    { operations: 200_000, rounds: 15 }
  )
)

const tokenEndpoint = `${process.argv[2]}/token`
/** A grant for each candidate: a refresh token of its own. */
const logins = (process.argv[3] ?? "").split(" ")
const login = (): string => logins.pop() ?? ""
const clientId = "public-client"

const plainFetch = async () => {
  let refreshToken = login()
  return async (n: number) => {
    for (let i = 0; i < n; i++) {
      const body = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: refreshToken,
        client_id: clientId
      })
      const answer = (await (await fetch(tokenEndpoint, { method: "POST", body })).json()) as {
        refresh_token: string
      }
      refreshToken = answer.refresh_token
    }
  }
}

const over = (client: Layer.Layer<HttpClient.HttpClient>) =>
  Layer.provide(RefreshToken.layer({ server: { tokenEndpoint }, client: { clientId } }), client)

const wireAlone = async (client: Layer.Layer<HttpClient.HttpClient>) => {
  const refresher = await Effect.runPromise(
    Layer.build(over(client)).pipe(
      Effect.map((context) => Context.get(context, TokenRefresher.TokenRefresher)),
      Scope.extend(scope)
    )
  )
  let held = Credentials.make({ accessToken: "none", refreshToken: login() })
  return async (n: number) => {
    for (let i = 0; i < n; i++) held = await Effect.runPromise(refresher.refresh(Option.some(held)))
  }
}

const wholeManager = async (client: Layer.Layer<HttpClient.HttpClient>) => {
  const refreshToken = login()
  const manager = await Effect.runPromise(
    Effect.flatMap(Layer.build(Layer.mergeAll(local, TokenConfig.layer(), over(client))), (services) =>
      Effect.tap(TokenManager.make({ watch: false }), (m) =>
        m.save(Credentials.make({ accessToken: "none", refreshToken }))
      ).pipe(Effect.provide(services))
    ).pipe(Scope.extend(scope))
  )
  return async (n: number) => {
    for (let i = 0; i < n; i++) await Effect.runPromise(manager.refresh)
  }
}

tell(
  "One refresh at a real authorization server in another process",
  "µs",
  await compare(
    {
      "plain fetch": await plainFetch(),
      "latchkey, the refresh grant over fetch": await wireAlone(FetchHttpClient.layer),
      "latchkey, the refresh grant over undici": await wireAlone(NodeHttpClient.layerUndici),
      "latchkey, the whole transaction over fetch": await wholeManager(FetchHttpClient.layer),
      "latchkey, the whole transaction over undici": await wholeManager(NodeHttpClient.layerUndici)
    },
    { operations: 40, rounds: 25, warmUp: 150 }
  )
)
if (asJson) process.stdout.write(`${JSON.stringify(results)}\n`)
if (sink === "") process.exitCode = 1
process.exit()
