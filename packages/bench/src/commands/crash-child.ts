/** A process of the crash campaign: requests a token once, and dies at the given point. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Logger from "effect/Logger"
import * as Backend from "../campaigns/Backend.js"
import { job as given, say } from "../campaigns/Child.js"
import type { CrashJob, CrashReport } from "../campaigns/Crash.js"

const job = given as CrashJob

const die = Effect.sync(() => process.kill(process.pid, "SIGKILL"))

/** While file system calls are running, so that they are cut off in the middle. */
const dieWithin = (millis: number) =>
  Effect.fork(Effect.zipRight(millis < 1 ? Effect.yieldNow() : Effect.sleep(millis), die))

/** The first commit is the intent, the second one the new credentials. */
const dying = (storage: TokenStorage.TokenStorage["Type"]): TokenStorage.TokenStorage["Type"] => {
  let commits = 0
  return TokenStorage.TokenStorage.of({
    location: storage.location,
    load: storage.load,
    commit: (entry, expected) =>
      Effect.suspend(() => {
        const which = ++commits === 1 ? "intent" : "commit"
        const commit = storage.commit(entry, expected)
        if (job.die === `before ${which}`) return Effect.zipRight(die, commit)
        if (job.die === `after ${which}`) return Effect.zipLeft(commit, die)
        if (job.die === `during ${which}`) return Effect.zipRight(dieWithin(job.within), commit)
        return commit
      }),
    remove: storage.remove,
    changes: storage.changes
  })
}

const rotation =
  job.windowMillis === null ? TokenRefresher.reusable : TokenRefresher.rotating(job.windowMillis)

const program = Effect.gen(function* () {
  const manager = yield* TokenManager.TokenManager
  const got = yield* Effect.either(manager.getAccessToken)
  const report: CrashReport = Either.match(got, {
    onRight: (token) => ({ token: Fingerprint.of(token) }),
    onLeft: ({ _tag, message, ...rest }) => ({
      error: _tag,
      reason: "reason" in rest ? String(rest.reason) : "",
      message
    })
  })
  say(report)
})

const storage = Backend.layer(job.backend)
const session = TokenManager.layer({ account: job.backend.account, watch: false }).pipe(
  Layer.provide(
    RefreshToken.layer({
      server: { tokenEndpoint: job.tokenEndpoint },
      client: { clientId: "public-client" },
      rotation
    })
  ),
  Layer.provide([
    Layer.effect(TokenStorage.TokenStorage, Effect.map(TokenStorage.TokenStorage, dying)).pipe(
      Layer.provideMerge(storage)
    ),
    TokenConfig.layer(),
    FetchHttpClient.layer
  ])
)

// A log would mix with its lines of output.
await Effect.runPromise(Logger.withMinimumLogLevel(Effect.provide(program, session), LogLevel.None))
process.exit(0)
