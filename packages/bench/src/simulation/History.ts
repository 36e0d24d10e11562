/**
 * Runs a plan and reports problems: pools of managers in several processes, over one store, one lease and one
 * hostile server, with a simulated clock. The explorer covers what the machine does within a flight.
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type * as Entry from "@latchkey/core/Entry"
import { grantFingerprint } from "@latchkey/core/Entry"
import * as Credentials from "@latchkey/core/Credentials"
import { makeProcess, RefreshLease } from "@latchkey/core/RefreshLease"
import { FaultyStorage } from "@latchkey/core/testing"
import * as Renewer from "@latchkey/core/Renewer"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import type { TokenError } from "@latchkey/core/TokenError"
import type * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenManagers from "@latchkey/core/TokenManagers"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import { Fault, HostileServer, type Rotation } from "@latchkey/oauth/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { Draw, inWorld } from "../../../oauth/test/support/world.js"
import { told } from "../../../oauth/test/support/windows.js"
import { type Ask, type Deed, networkFaults, type Plan } from "./Plan.js"

export interface Outcome {
  readonly broken: ReadonlyArray<string>
  readonly asked: number
  readonly requests: number
  readonly closes: number
  readonly interrupted: number
  /** How many grants could not be refreshed in the end. */
  readonly lost: number
}

/** How often a possible fault occurs. */
const probability = 0.06

/** One life of a program: its pool, until its scope closes. */
interface Life {
  readonly pool: TokenManagers.Managers
  readonly scope: Scope.CloseableScope
  isClosed: boolean
  /** Its user's saves and removals may still be running when it is closed. */
  byUser: number
}

const nameOf = (account: number): string => `account-${account}`

/** Rarely, because each round of the test clock takes time. */
const renewing = Renewer.make({ every: "1 minute" })

export const run = (
  plan: Plan,
  tell: (text: string) => void = () => undefined,
  /** The pools. Default: those that are published. A test uses a broken one to show that it is detected. */
  alter: (pool: TokenManagers.Managers) => TokenManagers.Managers = identity
): Effect.Effect<Outcome, unknown> => {
  const { setting } = plan
  const draw = new Draw(setting.seed)
  const options: HostileServer.Options = {
    seed: setting.seed,
    rotation: setting.rotation,
    accessTokenLifetime: setting.lifetime,
    latency: { min: 0, max: setting.networkLatency },
    chances: setting.isCalm
      ? []
      : setting.network.map((name) => ({ fault: networkFaults[name], probability }))
  }
  return inWorld(options, (server, time) =>
    Effect.gen(function* () {
      const broken: Array<string> = []
      const log = (text: string): void => tell(`${(time.elapsed / 1000).toFixed(3).padStart(12)} s  ${text}`)
      const breaks = (what: string): void => {
        broken.push(what)
        log(`*** ${what}`)
      }
      const storages = yield* TokenStorages.makeMemory()
      const lease = yield* makeProcess
      /**
       * Accounts whose user logged in again, logged out or ended the grant. What a caller sees there depends
       * on the moment.
       */
      const touched = new Set<string>()
      const logins = new Set<string>()
      /** The account of each access token, once it is stored. */
      const owners = new Map<string, string>()
      const lives: Array<Life> = []
      let isFair = setting.isCalm
      let closes = 0

      const storedOf = (account: string) =>
        Effect.map(Effect.orDie(Either.getOrThrow(storages.of(account)).load), (stored) =>
          Option.map(stored, ({ entry }) => entry)
        )

      /** What a commit may not do. */
      const checkCommit = (account: string, before: Option.Option<Entry.Entry>, after: Entry.Entry) =>
        Effect.gen(function* () {
          const { credentials } = after
          const fingerprint = grantFingerprint(credentials)
          owners.set(Redacted.value(credentials.accessToken), account)
          if (Option.isNone(credentials.refreshToken)) breaks(`${account}: a commit without a refresh token`)
          if (Option.isSome(after.dead) && (yield* server.canRefresh(credentials)))
            breaks(`${account}: a grant that is alive is marked dead`)
          if (logins.has(fingerprint) && after.fence === 0) return
          if (Option.isNone(before)) return breaks(`${account}: a grant that was removed is stored again`)
          const old = grantFingerprint(before.value.credentials)
          if (old === fingerprint) return
          const isRotation = (yield* server.redemptions).some(
            ({ brought, redeemed }) => redeemed === old && brought === fingerprint
          )
          if (!isRotation) breaks(`${account}: what is stored does not come from what it replaces`)
          if (after.generation !== before.value.generation + 1) breaks(`${account}: a generation is skipped`)
        })

      /**
       * The store as one process sees it: it takes time, fails as planned, and is not used after the pool is
       * closed.
       */
      const seenBy = (life: () => Life | undefined) =>
        TokenStorages.mapStorage(storages, (inner, account) => {
          const pause = Effect.suspend(() => {
            if (life()?.isClosed === true && life()?.byUser === 0)
              breaks(`${account}: used after its pool was closed`)
            const millis = draw.upTo(setting.storageLatency)
            return millis === 0 ? Effect.void : Effect.sleep(millis)
          })
          const slow = TokenStorage.of({
            location: inner.location,
            load: Effect.zipRight(pause, inner.load),
            commit: (entry, expected) =>
              Effect.gen(function* () {
                yield* pause
                const before = yield* storedOf(account)
                const version = yield* inner.commit(entry, expected)
                log(`${account} is committed, generation ${entry.generation}`)
                yield* checkCommit(account, before, entry)
                return version
              }),
            remove: Effect.zipRight(pause, inner.remove),
            changes: inner.changes
          })
          const faults = setting.storage.map((fault): FaultyStorage.Fault => {
            const [operation, when] = fault.split(" ") as ["load" | "commit", "before" | "after"]
            return { operation, when, call: () => !isFair && draw.chance(probability) }
          })
          return FaultyStorage.make(slow, faults)
        })

      const begin = (process: number) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const services = Layer.mergeAll(
            Layer.succeed(
              TokenStorages.TokenStorages,
              seenBy(() => lives[process])
            ),
            Layer.succeed(RefreshLease, lease),
            TokenConfig.layer({ ...setting.config, instance: `process ${process}` }),
            RefreshToken.layer({
              server: HostileServer.server,
              client: { clientId: "app" },
              rotation: told(setting.rotation)
            })
          )
          const context = yield* Scope.extend(Layer.build(services), scope)
          const inScope = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
            Scope.extend(Effect.provide(effect, context), scope)
          const pool = yield* inScope(TokenManagers.makeShared())
          lives[process] = { pool: alter(pool), scope, isClosed: false, byUser: 0 }
          yield* inScope(Effect.provideService(renewing, TokenManagers.TokenManagers, pool))
        })

      const callers: Array<{ readonly what: string; readonly fiber: Fiber.RuntimeFiber<unknown, unknown> }> =
        []
      let interrupted = 0
      /**
       * Forks a caller's action. It must come to an end, and only an interrupted caller sees an interruption.
       */
      const call = <A, E>(
        what: string,
        effect: Effect.Effect<A, E>,
        onExit: (exit: Exit.Exit<A, E>) => Effect.Effect<void> = () => Effect.void,
        interruptAfter?: number
      ) =>
        Effect.gen(function* () {
          log(what)
          const fiber = yield* Effect.forkDaemon(Effect.onExit(effect, onExit))
          callers.push({ what, fiber })
          const isAsked = interruptAfter !== undefined
          if (isAsked) {
            interrupted++
            yield* Effect.forkDaemon(Effect.delay(Fiber.interrupt(fiber), interruptAfter))
          }
          fiber.addObserver((exit) => {
            log(`${what}: ${Exit.isSuccess(exit) ? "done" : Cause.pretty(exit.cause).split("\n")[0]}`)
            if (Exit.isSuccess(exit)) return
            if (Cause.isDie(exit.cause)) breaks(`${what} died: ${Cause.pretty(exit.cause)}`)
            if (Cause.isInterruptedOnly(exit.cause) && !isAsked) breaks(`${what} was interrupted`)
          })
          return fiber
        })

      const withManager = <A, E>(
        life: Life,
        account: string,
        use: (manager: TokenManager.Manager) => Effect.Effect<A, E>
      ) => Effect.scoped(Effect.flatMap(life.pool.get(account), use))

      const checkServed = (account: string, token: string, unwanted: string | undefined, life: Life) =>
        Effect.gen(function* () {
          const owner = owners.get(token)
          if (owner !== undefined && owner !== account) breaks(`${account} is served a token of ${owner}`)
          if (token === unwanted && !life.isClosed) breaks(`${account} is served a token that was not wanted`)
          const isAccepted = yield* server.accepts(Credentials.make({ accessToken: token }))
          const stored = yield* storedOf(account)
          // A token outlives its grant if the server ended the grant. The holder of the token does not know.
          const isAlive = Option.isSome(stored) && (yield* server.isAlive(stored.value.credentials))
          if (!isAccepted && isAlive && !touched.has(account))
            breaks(`${account} is served a token that has expired`)
        })

      const checkFailure = (
        account: string,
        ask: Ask["is"],
        error: TokenError | TokenManagers.SetupError,
        life: Life
      ) =>
        Effect.gen(function* () {
          if (life.isClosed || touched.has(account)) return
          const reason = "reason" in error ? error.reason : "Setup"
          // A cool-down is correct if fresh tokens are rejected repeatedly, or live too briefly.
          if (setting.isCalm && ask === "get" && reason !== "CoolingDown" && reason !== "Closed")
            breaks(`${account} fails with ${reason}, and nothing is wrong`)
          if (error._tag !== "ReauthorizationRequired") return
          const stored = yield* storedOf(account)
          if (Option.isSome(stored) && (yield* server.canRefresh(stored.value.credentials)))
            breaks(`${account} asks for a login (${reason}), and its grant can be refreshed`)
        })

      const perform = (deed: Deed): Effect.Effect<unknown, unknown, HttpClient> =>
        Effect.gen(function* () {
          const process = deed.process % setting.processes
          const life = lives[process]!
          if (life.isClosed) return
          if (deed.is === "close") {
            closes++
            log(`process ${process} closes`)
            yield* Scope.close(life.scope, Exit.void)
            life.isClosed = true
            return yield* begin(process)
          }
          const account = nameOf(deed.account % setting.accounts)
          if (deed.is === "ask") return yield* ask(life, account, deed.ask, deed.interruptAfter)
          const stored = yield* storedOf(account)
          touched.add(account)
          if (deed.is === "login") return yield* login(life, account)
          if (deed.is === "revoke")
            return Option.isSome(stored) ? yield* server.revokeGrant(stored.value.credentials) : undefined
          yield* byUser(
            life,
            `${account} is cleared`,
            withManager(life, account, (m) => m.clear)
          )
        })

      const byUser = (life: Life, what: string, effect: Effect.Effect<unknown, unknown>) => {
        life.byUser++
        return call(what, effect, () => Effect.sync(() => void life.byUser--))
      }

      const login = (life: Life, account: string) =>
        Effect.gen(function* () {
          const credentials = yield* server.issueGrant()
          logins.add(grantFingerprint(credentials))
          yield* byUser(
            life,
            `${account} logs in`,
            withManager(life, account, (m) => m.save(credentials))
          )
        })

      const ask = (life: Life, account: string, asked: Ask, interruptAfter: number | undefined) => {
        const held = Option.getOrUndefined(Option.map(life.pool.unsafePeek(account), Redacted.value))
        const token = (manager: TokenManager.Manager): Effect.Effect<Redacted.Redacted, TokenError> => {
          switch (asked.is) {
            case "refresh":
              return manager.refresh
            case "for":
              return manager.getAccessTokenFor({ minValidity: asked.minValidity })
            case "reject":
              return held === undefined ? manager.getAccessToken : manager.reject(Redacted.make(held))
            default:
              return manager.getAccessToken
          }
        }
        const what = `${account}: ${asked.is}`
        const look = (use: (manager: TokenManager.Manager) => Effect.Effect<unknown, unknown>) =>
          call(what, withManager(life, account, use), undefined, interruptAfter)
        if (asked.is === "status") return look((m) => m.status)
        if (asked.is === "explain") return look((m) => m.explain)
        if (asked.is === "invalidate") return look((m) => m.invalidate)
        const unwanted = asked.is === "refresh" || asked.is === "reject" ? held : undefined
        return call(
          what,
          withManager(life, account, token),
          Exit.matchEffect({
            onSuccess: (served) => checkServed(account, Redacted.value(served), unwanted, life),
            onFailure: (cause) =>
              Option.match(Cause.failureOption(cause), {
                onNone: () => Effect.void,
                onSome: (error) => checkFailure(account, asked.is, error, life)
              })
          }),
          interruptAfter
        )
      }

      for (let process = 0; process < setting.processes; process++) yield* begin(process)
      const accounts = Array.from({ length: setting.accounts }, (_, account) => nameOf(account))
      isFair = true
      for (const account of accounts) yield* login(lives[0]!, account)
      yield* Effect.sleep(1000)
      isFair = setting.isCalm
      for (const { deeds, from, offset } of plan.rounds) {
        const grace = Math.min(setting.config.refreshGrace, setting.lifetime / 2)
        const wait = from === "now" ? 0 : setting.lifetime - (from === "due" ? grace : 0)
        yield* Effect.sleep(Math.max(0, wait + offset))
        yield* Effect.forEach(deeds, ({ after, deed }) => Effect.delay(perform(deed), after), {
          concurrency: "unbounded"
        })
      }
      // The faults are over: every caller gets a token, or the error that names the loss.
      log("--- nothing goes wrong from now on")
      isFair = true
      yield* server.plan(Array.from({ length: 1000 }, () => Fault.none))
      yield* Effect.sleep("15 minutes")
      for (const { fiber, what } of callers)
        if (Option.isNone(yield* Fiber.poll(fiber))) breaks(`${what} does not end`)
      yield* Effect.sleep(setting.lifetime)
      let lost = 0
      for (const account of accounts) {
        const looksAlive = Effect.gen(function* () {
          const stored = yield* storedOf(account)
          return Option.isSome(stored) && (yield* server.canRefresh(stored.value.credentials))
        })
        // The server may have rotated a moment ago, with the response on its way. A loss is permanent.
        let isAlive = yield* looksAlive
        for (let i = 0; !isAlive && i < 5; i++) {
          yield* Effect.sleep("41 seconds")
          isAlive = yield* looksAlive
        }
        if (!isAlive) lost++
        if (!isAlive && !touched.has(account) && !mayLose(setting)) breaks(`${account} is lost`)
        for (const life of lives) {
          const last = yield* Effect.either(retried(life.pool.getAccessToken(account)))
          const error = Either.isLeft(last) ? last.left : undefined
          if (isAlive && error !== undefined)
            breaks(`${account} gets no token although it is alive: ${error.message}`)
          if (!isAlive && error?._tag !== "ReauthorizationRequired")
            breaks(`${account} is lost, and its caller gets ${error?._tag ?? "a token"}`)
        }
      }
      const counts = yield* server.counts
      // A request that was abandoned may still be on its way.
      if (setting.isCalm && counts.mostAtOnce > setting.accounts)
        breaks(`${counts.mostAtOnce} requests at once for ${setting.accounts} accounts`)
      if (setting.isCalm && counts.reuses + counts.replays > 0)
        breaks("a refresh token was sent twice, and nothing was wrong")
      yield* Effect.forEach(lives, ({ scope }) => Scope.close(scope, Exit.void))
      return { broken, asked: callers.length, requests: counts.requests, closes, interrupted, lost }
    })
  )
}

/** Like a patient user. */
const retried = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.retry(effect, {
    times: 40,
    while: (error) => Effect.as(Effect.sleep("30 seconds"), error._tag !== "ReauthorizationRequired")
  })

/** A response may be lost at a server without a window, or after its window. */
const mayLose = ({ isCalm, rotation }: Plan["setting"]): boolean =>
  !isCalm && rotation._tag !== "Reusable" && rotation._tag !== "PredecessorValid" && windowOf(rotation) < 1e9

const windowOf = (rotation: Rotation.Rotation): number => ("window" in rotation ? rotation.window : 0)
