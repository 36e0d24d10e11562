/**
 * `crash`: a process is killed with SIGKILL at each step between the intent and the end of the commit, at
 * servers with each rotation policy. Another one continues. If the server has a window, nothing may be lost.
 * If it has none, a loss must be reported with the right error (invariant 2).
 */
import * as Credentials from "@latchkey/core/Credentials"
import { Rotation } from "@latchkey/oauth/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import * as Provider from "../../../oauth/test/Provider.js"
import type * as Backend from "./Backend.js"
import * as Campaign from "./Campaign.js"
import type { Open } from "./Opener.js"
import * as SocketServer from "./SocketServer.js"

/** Where the child kills itself. At the server's halts its parent kills it. */
const inChild = [
  "before intent",
  "during intent",
  "after intent",
  "before commit",
  "during commit",
  "after commit"
] as const
const atServer = ["received", "redeemed", "half", "answered"] as const
type Step = (typeof inChild)[number] | (typeof atServer)[number]
const steps: ReadonlyArray<Step> = [...inChild.slice(0, 3), ...atServer, ...inChild.slice(3)]

export interface CrashJob {
  readonly backend: Backend.Backend
  readonly tokenEndpoint: string
  /** Null: the refresh token is reusable. */
  readonly windowMillis: number | null
  readonly die: (typeof inChild)[number] | "never"
  /** `during …`: this many milliseconds after it begins. */
  readonly within: number
}

export type CrashReport =
  { readonly token: string } | { readonly error: string; readonly reason: string; readonly message: string }

/**
 * A server that may or may not lose a grant: its policy, and the policy that its client is configured with.
 */
interface Server {
  readonly tokenEndpoint: string
  readonly login: Effect.Effect<Credentials.Credentials>
  readonly windowMillis: number | null
  readonly canRefresh: (credentials: Credentials.Credentials) => Effect.Effect<boolean>
  readonly onHalt: SocketServer.SocketServer["onHalt"]
  readonly idle: SocketServer.SocketServer["idle"]
  readonly halts: ReadonlyArray<Step>
}

const windowMillis = 60_000

const hostile = (rotation: Rotation.Rotation, window: number | null) =>
  Effect.map(SocketServer.make({ rotation }), (server): Server => ({
    ...server,
    windowMillis: window,
    canRefresh: server.control.canRefresh,
    halts: steps
  }))

/** `oidc-provider`: no window, and a replay ends the grant. */
const real = Effect.gen(function* () {
  let act: (halt: SocketServer.Halt) => void | Promise<void> = () => undefined
  const gate = new SocketServer.Gate()
  const server = yield* Provider.start({
    setUp: (provider) =>
      provider.use(async (context, next) => {
        if (context.path !== "/token") return next()
        const halted = act
        act = () => undefined
        const leave = gate.enter()
        try {
          await halted("received")
          await next()
          if (context.status === 200) await halted("redeemed")
        } finally {
          leave()
        }
      })
  })
  const find = (credentials: Credentials.Credentials) =>
    Effect.promise(async () => {
      const token = Option.getOrElse(Option.map(credentials.refreshToken, Redacted.value), () => "")
      const found = await server.provider.RefreshToken.find(token)
      return found !== undefined && found.consumed === undefined
    })
  return {
    tokenEndpoint: `${server.issuer}/token`,
    login: server.grant(),
    windowMillis: 0,
    canRefresh: find,
    onHalt: (next) => void (act = next),
    idle: () => gate.idle(),
    halts: steps.filter((step) => step !== "half" && step !== "answered")
  } satisfies Server
})

const servers: Readonly<Record<string, Effect.Effect<Server, never, Scope.Scope>>> = {
  "no window": hostile(Rotation.strict(), 0),
  "no window, oidc-provider": real,
  "a new pair": hostile(Rotation.newPair(windowMillis), windowMillis),
  "the same pair": hostile(Rotation.samePair(windowMillis), windowMillis),
  "predecessor valid": hostile(Rotation.predecessorValid(), 3_600_000),
  reusable: hostile(Rotation.reusable, null)
}

/** One death at a server: what it lost, and what is wrong with how that was reported. */
const crash = async (
  program: string,
  backend: Backend.Backend,
  server: Server,
  step: Step,
  within: number
) => {
  const login = await Effect.runPromise(server.login)
  const expired = new Credentials.Credentials({
    ...login,
    expiresAt: Option.some(Campaign.wallClock() - 1000),
    obtainedAt: Option.none()
  })
  await Campaign.store(backend, expired)
  const job = { backend, tokenEndpoint: server.tokenEndpoint, windowMillis: server.windowMillis, within }
  const die = inChild.find((own) => own === step) ?? "never"
  const child = Campaign.start(program, { ...job, die } satisfies CrashJob)
  let redeemed = false
  server.onHalt(async (halt) => {
    // The server does its part, even if its client is gone.
    if (halt === "redeemed") redeemed = true
    if (halt !== step) return
    const dead = once(child.process, "exit")
    child.kill("SIGKILL")
    await dead
  })
  // Its caller is served before the rotation is stored. A death after that counts too.
  const isKilled = await child.ended()
  await server.idle()
  server.onHalt(() => undefined)
  const left = Option.getOrThrow(await Campaign.load(backend)).entry
  const committed = !Credentials.sameRefreshToken(left.credentials, expired) || left.generation > 1

  const heir = Campaign.start(program, { ...job, die: "never" } satisfies CrashJob)
  const report = (await heir.line()) as CrashReport | undefined
  await heir.ended()
  const after = Option.getOrThrow(await Campaign.load(backend)).entry
  const alive = await Effect.runPromise(server.canRefresh(after.credentials))
  const lost = redeemed && !committed && server.windowMillis === 0
  const broken: Array<string> = []
  if (!isKilled) broken.push("it did not die")
  if (report === undefined) broken.push("the heir said nothing")
  else if (lost) {
    if (!(
      "error" in report &&
      report.error === "ReauthorizationRequired" &&
      report.reason === "RotationLost"
    )) {
      broken.push(`a lost rotation was not told as one: ${JSON.stringify(report)}`)
    }
  } else {
    if ("error" in report) broken.push(`the heir failed: ${report.error} ${report.reason}: ${report.message}`)
    if (!alive) broken.push("what is stored can no longer be refreshed")
  }
  if (Option.isNone(after.credentials.refreshToken)) broken.push("the refresh token is gone from storage")
  return { redeemed, committed, lost, typed: lost && broken.length === 0, broken }
}

interface Tally {
  kills: number
  /** The server had rotated, and the response was never committed. */
  uncommitted: number
  lost: number
  lostAndTyped: number
}

export const run = async (open: Open, n: number, seed: number): Promise<Campaign.Figures> => {
  const program = await Campaign.bundle("crash-child")
  const random = Campaign.random(seed)
  const broken: Array<string> = []
  const tallies: Record<string, Tally> = {}
  const began = performance.now()
  const all = Effect.gen(function* () {
    const up = yield* Effect.forEach(Object.entries(servers), ([name, start]) =>
      Effect.map(start, (server) => ({ name, server }))
    )
    const rounds = up.flatMap(({ name, server }) => server.halts.map((step) => ({ name, server, step })))
    for (let i = 0; i < n; i++) {
      const { name, server, step } = rounds[i % rounds.length]!
      const one = yield* Effect.promise(() =>
        Campaign.inDirectory(async (directory) =>
          crash(program, await open(directory), server, step, random() * 6)
        )
      )
      const tally = (tallies[name] ??= { kills: 0, uncommitted: 0, lost: 0, lostAndTyped: 0 })
      tally.kills++
      if (one.redeemed && !one.committed) tally.uncommitted++
      if (one.lost) tally.lost++
      if (one.typed) tally.lostAndTyped++
      broken.push(...one.broken.map((what) => `kill ${i}, ${name}, ${step}: ${what}`))
    }
  })
  await Effect.runPromise(Effect.scoped(all))
  return {
    kills: n,
    servers: tallies,
    seconds: Campaign.secondsSince(began),
    broken: broken.slice(0, 20)
  }
}
