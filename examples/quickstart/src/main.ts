/**
 * `npm start`: a session meets expiry, rotation, a killed process, a server that is down and a revoked grant.
 * With `--json` it prints the same as data. It leaves nothing behind.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Fingerprint, TokenManager } from "@latchkey/core"
import { File } from "@latchkey/storage"
import { Clock, Effect, Either, Fiber, Logger, LogLevel, Option, Stream } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type AuthorizationServer, lifetime, start } from "./AuthorizationServer.js"
import * as Report from "./Report.js"
import { session } from "./Session.js"
import * as Worker from "./Worker.js"

interface Stage {
  readonly server: AuthorizationServer
  readonly file: string
  readonly report: Report.Report
}

const sleepUntil = (instant: number) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(Math.max(0, instant - now)))

/** The contents of the file, read as any other process would read it. */
const stored = (file: string) =>
  Effect.gen(function* () {
    const { storage } = yield* File.make({ path: file })
    const { entry } = Option.getOrThrow(yield* storage.load)
    const { accessToken, expiresAt, refreshToken } = entry.credentials
    return {
      generation: entry.generation,
      accessToken: Fingerprint.of(accessToken),
      refreshToken: Fingerprint.of(Option.getOrThrow(refreshToken)),
      expiresAt: Option.getOrThrow(expiresAt)
    }
  })

/**
 * Requests the token when the one in the file has just expired. Returns how many refreshes this process and
 * the server counted.
 */
const atExpiry = ({ file, server }: Stage, manager: TokenManager.Manager, callers: number) =>
  Effect.gen(function* () {
    yield* sleepUntil((yield* stored(file)).expiresAt)
    let ours = 0
    const counting = yield* Effect.fork(
      Stream.runForEach(manager.events, (event) =>
        Effect.sync(() => void (event._tag === "Refreshing" && ours++))
      )
    )
    yield* Effect.yieldNow()
    const before = yield* server.tokenRequests
    const asked = yield* Clock.currentTimeMillis
    const answers = yield* Effect.forEach(
      Array.from({ length: callers }),
      () => Effect.either(manager.getAccessToken),
      { concurrency: "unbounded" }
    )
    yield* Effect.yieldNow()
    yield* Fiber.interrupt(counting)
    const tokens = new Set(answers.filter(Either.isRight).map((a) => Fingerprint.of(a.right)))
    const seconds = ((yield* Clock.currentTimeMillis) - asked) / 1000
    return {
      // If the machine stalls for longer than a token lives, the next expiry comes before all callers are
      // served.
      expiries: 1 + Math.floor(seconds / lifetime),
      errors: answers.filter(Either.isLeft).length,
      tokens: tokens.size,
      refreshes: ours,
      requests: (yield* server.tokenRequests) - before
    }
  })

const manyCallers = (stage: Stage) =>
  Effect.gen(function* () {
    const { file, report, server } = stage
    yield* report.scene("1,000 callers at the moment of expiry")
    const manager = yield* TokenManager.TokenManager
    yield* manager.save(yield* server.login)
    const first = yield* stored(file)
    yield* report.step(
      `logged in; access token ${first.accessToken}, generation ${first.generation}, in a 0600 file`
    )
    const seen = yield* atExpiry(stage, manager, 1000)
    yield* report.step(
      `1,000 fibers asked: ${seen.requests} request at the server, ${seen.refreshes} refresh by our own count, ${seen.errors} errors`
    )
    yield* report.result(
      "1,000 callers at expiry",
      seen,
      seen.requests <= seen.expiries && seen.errors === 0 && seen.tokens <= seen.requests
    )
  })

const rotation = (stage: Stage) =>
  Effect.gen(function* () {
    const { file, report } = stage
    yield* report.scene("Rotation: each refresh token is good for one use")
    const manager = yield* TokenManager.TokenManager
    const before = yield* stored(file)
    yield* manager.refresh
    const after = yield* stored(file)
    yield* report.step(`refresh token ${before.refreshToken} → ${after.refreshToken}`)
    yield* report.step(
      `generation ${before.generation} → ${after.generation}, on disk before anyone was given the token`
    )
    const figures = { generationBefore: before.generation, generationAfter: after.generation }
    yield* report.result(
      "rotation",
      figures,
      before.refreshToken !== after.refreshToken && after.generation === before.generation + 1
    )
  })

const killed = ({ file, report, server }: Stage) =>
  Effect.gen(function* () {
    yield* report.scene("A process killed with SIGKILL, and started again")
    const before = yield* stored(file)
    const first = yield* Worker.start(server.issuer, file)
    yield* first.tokens(2)
    yield* first.kill
    const between = yield* stored(file)
    yield* report.step(`process ${first.pid} refreshed to generation ${between.generation}, then was killed`)
    const requests = yield* server.tokenRequests
    const second = yield* Worker.start(server.issuer, file)
    yield* second.tokens(1)
    yield* second.kill
    const after = yield* stored(file)
    const used = (yield* server.tokenRequests) - requests
    yield* report.step(
      `process ${second.pid} went on from the file: generation ${after.generation}, ${used} request${used === 1 ? "" : "s"}, no login`
    )
    yield* report.result(
      "killed and started again",
      { generationBefore: before.generation, generationAfter: after.generation, logins: 0 },
      between.generation > before.generation && after.generation >= between.generation
    )
  })

const serverDown = ({ file, report, server }: Stage) =>
  Effect.gen(function* () {
    yield* report.scene("The authorization server is down for a while")
    const manager = yield* TokenManager.TokenManager
    yield* manager.refresh
    const { expiresAt } = yield* stored(file)
    yield* server.goDown
    yield* sleepUntil(expiresAt - 900)
    const inGrace = yield* Effect.either(manager.getAccessToken)
    yield* report.step(
      Either.isRight(inGrace)
        ? "the refresh failed; the token is still valid, and is served"
        : `the token was still valid, yet: ${inGrace.left.message}`
    )
    yield* sleepUntil(expiresAt)
    const expired = yield* Effect.flip(manager.getAccessToken)
    const now = yield* Clock.currentTimeMillis
    const retryIn = expired._tag === "RefreshUnavailable" ? Math.max(0, expired.retryAt - now) : Number.NaN
    yield* report.step(`expired: ${expired._tag}, ${expired.message}`)
    yield* report.step(`to be tried again in ${retryIn.toFixed(0)} ms`)
    yield* server.comeUp
    yield* Effect.sleep(retryIn)
    const back = yield* Effect.either(manager.getAccessToken)
    yield* report.step(Either.isRight(back) ? "the server is back: a new token" : back.left.message)
    yield* report.result(
      "server down",
      { servedWhileValid: Either.isRight(inGrace), error: expired._tag, retryInMillis: Math.round(retryIn) },
      Either.isRight(inGrace) && expired._tag === "RefreshUnavailable" && Either.isRight(back)
    )
  })

const revoked = ({ file, report, server }: Stage) =>
  Effect.gen(function* () {
    yield* report.scene("The grant is revoked")
    const manager = yield* TokenManager.TokenManager
    yield* server.revokeAll
    const before = yield* server.tokenRequests
    const error = yield* Effect.flip(manager.refresh)
    for (let i = 0; i < 100; i++) yield* Effect.flip(manager.refresh)
    const requests = (yield* server.tokenRequests) - before
    const reason = "reason" in error ? error.reason : ""
    yield* report.step(`${error._tag} (${reason})`)
    yield* report.step(error.message.replace(file, "the file"))
    yield* report.step(`asked 101 times, posted ${requests} time: a dead grant is not posted again`)
    yield* report.result(
      "revoked grant",
      { error: error._tag, reason, requests },
      error._tag === "ReauthorizationRequired" && requests === 1
    )
  })

const program = Effect.gen(function* () {
  const report = yield* Report.make(process.argv.includes("--json"))
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-quickstart-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const file = join(directory, "credentials.json")
  const server = yield* start
  yield* report.intro(
    `A real authorization server at ${server.issuer}: access tokens live for ${lifetime} s,`,
    "refresh tokens rotate, and one that is used twice revokes the grant."
  )
  const stage = { server, file, report }
  // Two lives of the program. Between them others use the same file.
  yield* Effect.zipRight(manyCallers(stage), rotation(stage)).pipe(
    Effect.provide(session({ issuer: server.issuer, file }))
  )
  yield* killed(stage)
  yield* Effect.zipRight(serverDown(stage), revoked(stage)).pipe(
    Effect.provide(session({ issuer: server.issuer, file }))
  )
  return yield* report.end
})

const asked = process.argv.slice(2)
if (asked.some((arg) => arg !== "--json")) {
  const helps = asked.includes("--help") || asked.includes("-h")
  process[helps ? "stdout" : "stderr"].write("usage: npm start [-- --json]\n")
  process.exit(helps ? 0 : 2)
}

NodeRuntime.runMain(
  Effect.scoped(program).pipe(
    // The library's own warnings would repeat the story.
    Logger.withMinimumLogLevel(LogLevel.Error),
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1)))
  )
)
