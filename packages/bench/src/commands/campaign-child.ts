/**
 * The processes of the campaigns: the job comes as JSON in the first argument, and results go out as lines of
 * JSON.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { closeSync, openSync, unlinkSync } from "node:fs"
import * as Backend from "../campaigns/Backend.js"
import { job as given, say, told } from "../campaigns/Child.js"

type Job = { readonly backend: Backend.Backend } & (
  | { readonly do: "write" }
  | { readonly do: "ask"; readonly issuer: string }
  | { readonly do: "hold"; readonly ttl: number }
  | { readonly do: "inherit" }
  | { readonly do: "contend"; readonly contender: number; readonly marker: string }
)

const job = given as Job

/** The name of the lease that all processes of a campaign contend for. */
const { account } = job.backend
/** Padding makes a torn write more likely to show. */
const padding = "x".repeat(4000)

const commitNext = (fence: number) =>
  Effect.gen(function* () {
    const storage = yield* TokenStorage.TokenStorage
    const loaded = yield* storage.load
    const generation = 1 + Option.match(loaded, { onNone: () => 0, onSome: (l) => l.entry.generation })
    const credentials = Credentials.make({
      accessToken: `${generation}-${padding}`,
      refreshToken: `${generation}`
    })
    yield* storage.commit(
      new Entry.Entry({ ...Entry.first(credentials, generation), fence }),
      Option.map(loaded, (l) => l.version)
    )
    return generation
  })

const ask = (issuer: string) =>
  Effect.gen(function* () {
    const RefreshToken = yield* Effect.promise(() => import("@latchkey/oauth/RefreshToken"))
    return yield* Effect.provide(
      askOften,
      TokenManager.layer({ account }).pipe(
        Layer.provide(RefreshToken.layer({ server: { issuer }, client: { clientId: "public-client" } })),
        Layer.provide(TokenConfig.layer({ refreshGrace: 0 })),
        Layer.provide(FetchHttpClient.layer)
      )
    )
  })

const askOften = Effect.gen(function* () {
  const manager = yield* TokenManager.TokenManager
  let asked = 0
  let stopped = false
  const errors: Array<string> = []
  const once = Effect.gen(function* () {
    asked++
    const got = yield* Effect.either(manager.getAccessToken)
    if (Either.isLeft(got)) errors.push(`${got.left._tag}: ${got.left.message}`)
    return got
  })
  yield* once
  say("ready")
  yield* Effect.fork(
    Effect.zipRight(
      told,
      Effect.sync(() => (stopped = true))
    )
  )
  while (!stopped) {
    yield* once
    yield* Effect.sleep(25)
  }
  // All others have received the order to stop too, so what is stored now is final.
  yield* Effect.sleep("2 seconds")
  yield* manager.invalidate
  const credentials = Option.getOrThrow(yield* manager.credentials)
  say({ asked, errors: errors.slice(0, 20), token: Fingerprint.of(credentials.accessToken) })
})

const hold = (ttl: number) =>
  Effect.gen(function* () {
    const lease = yield* RefreshLease.RefreshLease
    const storage = yield* TokenStorage.TokenStorage
    const loaded = yield* storage.load
    const { fence } = yield* acquire(lease, ttl)
    say({ fence })
    yield* told
    const late = yield* Effect.either(
      storage.commit(
        new Entry.Entry({
          ...Entry.first(Credentials.make({ accessToken: "late", refreshToken: "late" })),
          fence
        }),
        Option.map(loaded, (l) => l.version)
      )
    )
    say(
      Either.isRight(late) ? "committed" : late.left._tag === "CommitRefused" ? "refused" : late.left.message
    )
    yield* Effect.never
  })

/** Waits for the lease while another process has it and the campaign runs. Any other failure counts. */
const acquire = (lease: typeof RefreshLease.RefreshLease.Service, ttl: number, over = () => false) =>
  lease.acquire(account, ttl).pipe(
    Effect.retry({
      while: (error) => error.reason === "Busy" && !over(),
      schedule: Schedule.spaced("10 millis")
    })
  )

const inherit = Effect.gen(function* () {
  const lease = yield* RefreshLease.RefreshLease
  const storage = yield* TokenStorage.TokenStorage
  const { fence } = yield* acquire(lease, 60_000)
  say({ generation: yield* commitNext(fence) })
  yield* told
  say({ generation: Option.getOrThrow(yield* storage.load).entry.generation })
  yield* Effect.never
})

/**
 * Round after round, at the parent's signal: tries for the lease until it has had it, or the parent says that
 * another process has it.
 */
const contend = (contender: number, marker: string) =>
  Effect.gen(function* () {
    const lease = yield* RefreshLease.RefreshLease
    say("ready")
    for (;;) {
      yield* told
      let over = false
      const listening = yield* Effect.fork(Effect.map(told, () => (over = true)))
      const turn = Effect.gen(function* () {
        const { fence } = yield* acquire(lease, 60_000, () => over)
        const at = performance.timeOrigin + performance.now()
        const overlapped = !enter(marker)
        yield* Effect.sleep(1)
        if (!overlapped) unlinkSync(marker)
        return { contender, fence, at, overlapped }
      })
      say(
        yield* Effect.catchTag(Effect.scoped(turn), "LeaseError", (e) =>
          Effect.succeed(over ? "stopped" : e.message)
        )
      )
      yield* Fiber.join(listening)
    }
  })

/** Exclusive by itself: it fails if another owner is inside. */
const enter = (marker: string): boolean => {
  try {
    closeSync(openSync(marker, "wx"))
    return true
  } catch {
    return false
  }
}

const perform = (): Effect.Effect<
  unknown,
  unknown,
  TokenStorage.TokenStorage | RefreshLease.RefreshLease
> => {
  switch (job.do) {
    case "write":
      return Effect.forever(Effect.map(commitNext(0), say))
    case "ask":
      return ask(job.issuer)
    case "hold":
      return Effect.scoped(hold(job.ttl))
    case "inherit":
      return Effect.scoped(inherit)
    case "contend":
      return contend(job.contender, job.marker)
  }
}

// A log would mix with its lines of output. Failures are in those lines.
await Effect.runPromise(
  Logger.withMinimumLogLevel(Effect.provide(perform(), Backend.layer(job.backend)), LogLevel.None)
)
process.exit(0)
