/**
 * A small world for the machine of the core: a few processes, one store, one lease, one authorization server.
 * Immutable. {@link feed} passes one input to the machine of a process, and lets its callers take their turns
 * as the driver does.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { type Decision, type Messages, State, Step, Turn, View } from "@latchkey/core/internal-api"
import { reusable, rotating } from "@latchkey/core/RotationPolicy"
import { StorageError, type Version, type Versioned } from "@latchkey/core/TokenStorage"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/** What the server does with a spent refresh token. */
export type Server = "strict" | "window" | "same pair" | "reusable"

/** One space to search. */
export interface Space {
  readonly server: Server
  readonly processes: number
  readonly faults: number
  /** How many callers each process has. */
  readonly callers: number
  /** Whether the first caller of the first process forces a refresh. */
  readonly forced: boolean
  /** How often users save, clear, invalidate, reject or close, and storage reports a change. */
  readonly actions: number
  /** How often time passes, or the clock of one process is set. */
  readonly ticks: number
  /** By how many milliseconds the clock of the second process is ahead. */
  readonly skew: number
  /** Whether the stored token has expired, or is within its grace. */
  readonly token: "expired" | "in grace"
  /**
   * The machine. Default: the one that is published. A test uses another one to show that the search finds
   * its errors.
   */
  readonly step?: typeof Step.step
}

/** A caller that waits for a read of storage, or for the flight. */
type Waiting =
  { readonly reads: Decision.Request } | { readonly joins: Turn.Caller; readonly patience: number }

export interface Process {
  readonly state: State.State
  readonly command: Messages.Command | undefined
  /** The write counter when a read outside the flight began. */
  readonly reading: number | undefined
  /** The number of callers still to come, and the callers that wait. */
  readonly callers: number
  readonly waiting: ReadonlyArray<Waiting>
  /** The response that had begun to arrive when its time was over. */
  readonly arriving: { readonly credentials: Credentials.Credentials | undefined } | undefined
  /** The number of the newest pair of tokens that it received. */
  readonly received: number
  /** By how much its clock is ahead. */
  readonly ahead: number
  /** Whether it lost a lease, and may not know. */
  readonly lapsed: boolean
}

export interface World {
  readonly processes: ReadonlyArray<Process>
  readonly stored: Versioned | undefined
  readonly serial: number
  /** The process that holds the lease, -1 for none. */
  readonly holder: number
  readonly fence: number
  /** The newest pair that the server issued, the pair that it replaced, and when that was first spent. */
  readonly pair: number
  readonly predecessor: number
  readonly rotatedAt: number
  /** Whether the grant is still alive at the server. */
  readonly alive: boolean
  readonly now: number
  /** What may still happen, as in {@link Space}. */
  readonly faults: number
  readonly actions: number
  readonly ticks: number
  /** A response, or the process that had one, was lost after the rotation. */
  readonly lost: boolean
  /** A lease lapsed unnoticed: two processes may have spent one token. */
  readonly lapsed: boolean
  /** A login or a logout: the number of the pair that it brought, 0 for a logout. */
  readonly login: number | undefined
  /** A caller's problem, in words. */
  readonly broken: string | undefined
}

const start = 1_000_000
const lifetime = 100_000
const graceSpan = 20_000
const windowSpan = 10_000
/** For how long a caller waits for a refresh while its token is valid. */
const patience = 10_000

/** The number of the first pair from a login. */
export const loginBase = 100

export const credentialsOf = (
  pair: number,
  from: number,
  server: Server,
  access = String(pair)
): Credentials.Credentials =>
  Credentials.make({
    accessToken: `access-${access}`,
    refreshToken: server === "reusable" && pair < loginBase ? "refresh-1" : `refresh-${pair}`,
    obtainedAt: from,
    expiresAt: from + lifetime
  })

export const pairOf = (token: Redacted.Redacted): number => Number(Redacted.value(token).split("-")[1])

export const policyOf = (space: Space, world: World): State.Policy => ({
  credentialsTtl: 30_000,
  grace: graceSpan,
  mode: "wait",
  jitter: 0,
  coolDownBase: 1_000,
  coolDownMax: 8_000,
  // It ends when time passes, and never before.
  leaseWait: 60_000,
  rotation: space.server === "reusable" ? reusable : rotating(space.server === "strict" ? 0 : windowSpan),
  needsRefreshToken: true,
  refreshTimeout: 30_000,
  identityOf: Option.none,
  formerly: [],
  serverAhead: 0,
  uptime: world.now - start,
  jitterShare: 0.25,
  reportsChanges: false
})

/** The clock of a process. */
export const clockOf = (world: World, index: number): number => world.now + world.processes[index]!.ahead

export const newProcess = (callers: number, ahead: number): Process => ({
  state: State.initial,
  command: undefined,
  reading: undefined,
  callers,
  waiting: [],
  arriving: undefined,
  received: 0,
  ahead,
  lapsed: false
})

export const begin = (space: Space): World => ({
  processes: Array.from({ length: space.processes }, (_, i) =>
    newProcess(space.callers, i === 1 ? space.skew : 0)
  ),
  stored: {
    version: "1" as Version,
    entry: Entry.first(
      credentialsOf(1, start - lifetime + (space.token === "expired" ? -1 : graceSpan / 2), space.server)
    )
  },
  serial: 1,
  holder: -1,
  fence: 0,
  pair: 1,
  predecessor: 0,
  rotatedAt: start - lifetime,
  alive: true,
  now: start,
  faults: space.faults,
  actions: space.actions,
  ticks: space.ticks,
  lost: false,
  lapsed: false,
  login: undefined,
  broken: undefined
})

/** Whether only the callers acted. */
export const isUndisturbed = (space: Space, world: World): boolean =>
  space.skew === 0 &&
  space.faults === world.faults &&
  space.actions === world.actions &&
  space.ticks === world.ticks

/**
 * Whether this world may lose the grant: a response was lost at a server without a window, or outside its
 * window, which takes time; or two processes redeemed one token, because a lease lapsed.
 */
export const mayLose = (space: Space, world: World): boolean => {
  const isOutside = space.skew !== 0 || world.ticks < space.ticks
  return (
    space.server !== "reusable" && (world.lapsed || (world.lost && (space.server === "strict" || isOutside)))
  )
}

export const change = (world: World, index: number, fields: Partial<Process>): World => ({
  ...world,
  processes: world.processes.map((process, i) => (i === index ? { ...process, ...fields } : process))
})

/**
 * Passes one input to the machine of a process. Callers that it releases, or that waited for its read, look
 * again.
 */
export const feed = (space: Space, world: World, index: number, input: Messages.Input): World => {
  const process = world.processes[index]!
  const next = (space.step ?? Step.step)(policyOf(space, world), process.state, input, clockOf(world, index))
  const isObserved = input._tag === "Observed" || input._tag === "ObserveFailed"
  const readsAgain = isObserved && Option.isSome(next.command)
  const { phase } = next.state
  const command = Option.filter(next.command, ({ _tag }) => _tag !== "Wake" && !readsAgain)
  const told = change(world, index, {
    state: next.state,
    command: Option.getOrElse(command, () => (phase._tag === "Idle" ? undefined : process.command)),
    ...(isObserved && { reading: readsAgain ? next.state.writes : undefined }),
    ...(phase._tag !== "Redeeming" && { arriving: undefined })
  })
  if (readsAgain) return told
  const failure = Option.flatMap(next.released, (release) => release.failure)
  if (isObserved) return afterRead(space, told, index, input, failure)
  return Option.isSome(next.released) ? afterFlight(space, told, index, failure) : told
}

type Takes = (world: World, waiting: Waiting) => World | undefined

/** Waiting callers take their turns in sequence. */
const inTurn = (world: World, index: number, take: Takes): World => {
  const { waiting } = world.processes[index]!
  return waiting.reduce((after, one) => {
    const without = change(after, index, {
      waiting: after.processes[index]!.waiting.filter((other) => other !== one)
    })
    return take(without, one) ?? after
  }, world)
}

const afterFlight = (
  space: Space,
  world: World,
  index: number,
  failure: Option.Option<State.Failure>
): World =>
  inTurn(world, index, (after, one) => {
    if (!("joins" in one)) return undefined
    const { state } = after.processes[index]!
    const turn = Turn.afterFlight(policyOf(space, after), state, one.joins, failure, clockOf(after, index))
    return follow(space, after, index, one.joins.request, turn, one.joins.had)
  })

const afterRead = (
  space: Space,
  world: World,
  index: number,
  input: Messages.Input,
  failure: Option.Option<State.Failure>
): World =>
  inTurn(world, index, (after, one) => {
    if (!("reads" in one)) return undefined
    const { state } = after.processes[index]!
    const failed: Option.Option<State.Failure> =
      input._tag === "ObserveFailed" ? Option.some({ _tag: "StorageFailed", error: input.error }) : failure
    const now = clockOf(after, index)
    const turn = Turn.afterRead(policyOf(space, after), state, one.reads, failed, now, patience)
    return follow(space, after, index, one.reads, turn, Option.none())
  })

/** A new caller. */
export const call = (space: Space, world: World, index: number, request: Decision.Request): World => {
  const { callers, state } = world.processes[index]!
  const asked = change(world, index, { callers: callers - 1 })
  const turn = Turn.first(policyOf(space, world), state, request, clockOf(world, index), patience)
  return follow(space, asked, index, request, turn, Option.none())
}

const follow = (
  space: Space,
  world: World,
  index: number,
  request: Decision.Request,
  turn: Turn.Turn,
  had: Option.Option<Redacted.Redacted>
): World => {
  const { reading, state, waiting } = world.processes[index]!
  const name = `process ${index + 1}`
  const breaks = (what: string | undefined): World =>
    what === undefined || world.broken !== undefined ? world : { ...world, broken: `${name} ${what}` }
  switch (turn._tag) {
    case "Serve":
      return breaks(wrongToken(space, world, index, request, turn.token, had))
    case "ServeAndRefresh":
      return feed(space, world, index, { _tag: "Wanted", want: turn.want })
    case "Fail":
      return breaks(wrongFailure(space, world, index, request, turn.failure))
    case "Read":
      return change(world, index, {
        reading: reading ?? state.writes,
        waiting: [...waiting, { reads: request }]
      })
    case "Join": {
      const joined = change(world, index, {
        waiting: [...waiting, { joins: turn.caller, patience: turn.patience }]
      })
      return feed(space, joined, index, { _tag: "Wanted", want: turn.want })
    }
  }
}

/** Describes the problem with the token that a caller is served, if there is one. */
const wrongToken = (
  space: Space,
  world: World,
  index: number,
  { force }: Decision.Request,
  token: Redacted.Redacted,
  had: Option.Option<Redacted.Redacted>
): string | undefined => {
  const { state } = world.processes[index]!
  const isCurrent = Option.exists(
    State.credentialsOf(state),
    (c) => Redacted.value(c.accessToken) === Redacted.value(token)
  )
  if (!isCurrent) return "serves a token that is not the current one"
  if (!View.hasValidToken(policyOf(space, world), state, clockOf(world, index)))
    return "serves a token that has expired"
  if (force && Option.exists(had, (old) => Redacted.value(old) === Redacted.value(token)))
    return "answers a forced refresh with the token that the caller had"
  return State.isRejected(state) ? "serves a token that was rejected" : undefined
}

/** Describes the problem with the failure that a caller gets, if there is one. */
const wrongFailure = (
  space: Space,
  world: World,
  index: number,
  { force }: Decision.Request,
  failure: State.Failure
): string | undefined => {
  const { state } = world.processes[index]!
  const isValid = View.hasValidToken(policyOf(space, world), state, clockOf(world, index))
  if (!force && isValid && !State.isRejected(state))
    return `fails with ${describe(failure)}, although its token is valid`
  if (isUndisturbed(space, world)) return `fails with ${describe(failure)}, and nothing went wrong`
  if (failure._tag === "RolledBack") return "takes storage for rolled back, and it never went back"
  if (failure._tag !== "Decided") return undefined
  const { decision } = failure
  if (decision._tag === "Use" || decision._tag === "UseAndRefresh")
    return "fails with a decision to serve the token"
  if (decision._tag !== "Reauthorize") return undefined
  if (decision.reason === "NoCredentials")
    return world.login === undefined ? "finds no credentials, and nobody cleared them" : undefined
  if (world.login !== undefined) return undefined
  if (world.alive) return `asks for a new login (${decision.reason}), and the grant is alive`
  return world.lost && !world.lapsed && decision.reason !== "RotationLost"
    ? `says ${decision.reason}, and the rotation was lost`
    : undefined
}

const describe = (failure: State.Failure): string =>
  failure._tag === "Decided"
    ? failure.decision._tag
    : failure._tag === "Unavailable"
      ? failure.reason
      : failure._tag

/** The caller that waits at this place loses patience. */
export const losePatience = (space: Space, world: World, index: number, place: number): World => {
  const { state, waiting } = world.processes[index]!
  const one = waiting[place]!
  if (!("joins" in one)) return world
  const without = change(world, index, { waiting: waiting.filter((other) => other !== one) })
  const turn = Turn.outOfPatience(policyOf(space, world), state, one.joins, clockOf(world, index))
  return follow(space, without, index, one.joins.request, turn, one.joins.had)
}

/**
 * The server's response to a refresh token. The client counts the lifetime from its own clock. None: the
 * server refuses.
 */
export const redeem = (
  space: Space,
  world: World,
  index: number,
  token: Redacted.Redacted
): readonly [World, Credentials.Credentials | undefined] => {
  const from = clockOf(world, index)
  const sent = pairOf(token)
  // The grant of a login is another one: it always succeeds, with the same refresh token.
  if (sent >= loginBase) return [world, credentialsOf(sent, from, space.server, `${sent}.${world.fence}`)]
  if (!world.alive) return [world, undefined]
  const rotated = { ...world, pair: world.pair + 1 }
  const fresh = credentialsOf(rotated.pair, from, space.server)
  if (space.server === "reusable" || sent === world.pair)
    return [{ ...rotated, predecessor: sent, rotatedAt: world.now }, fresh]
  const isOpen =
    space.server !== "strict" && sent === world.predecessor && world.now < world.rotatedAt + windowSpan
  if (!isOpen) return [{ ...world, alive: false }, undefined]
  // The window of a predecessor counts from its first use.
  return space.server === "same pair"
    ? [world, credentialsOf(world.pair, from, space.server)]
    : [rotated, fresh]
}

export const storageDown = (operation: "load" | "commit"): StorageError =>
  new StorageError({ reason: "Unavailable", operation, location: "store", message: "Storage is down." })
