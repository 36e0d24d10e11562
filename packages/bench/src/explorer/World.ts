/**
 * A small world for the machine of the core: a few processes, one store, one lease, one authorization server. Immutable.
 * Everything that may happen next is a {@link Move}.
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { type Messages, State, Step, View } from "@latchkey/core/internal-api"
import { LeaseError } from "@latchkey/core/RefreshLease"
import { reusable, rotating } from "@latchkey/core/RotationPolicy"
import { RefreshError } from "@latchkey/core/TokenRefresher"
import { CommitRefused, StorageError, type Version, type Versioned } from "@latchkey/core/TokenStorage"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/** What the server does with a spent refresh token. */
export type Server = "strict" | "window" | "same pair" | "reusable"

/** One space to search. */
export interface Space {
  readonly server: Server
  readonly processes: number
  readonly faults: number
  /** How often each process is asked for a token. */
  readonly asks: number
  /** Whether the first ask of the first process forces a refresh. */
  readonly forced: boolean
  /** How many of these may happen: save, clear, invalidate, reject, a change report, a read outside the flight. */
  readonly deeds: number
  /** How often the clock moves. */
  readonly ticks: number
  /** By how many milliseconds the second process's clock is ahead. */
  readonly skew: number
  /** Whether the stored token has expired, or is in its grace. */
  readonly token: "expired" | "in grace"
}

/** A process: the state of its machine, the command under way, and a read outside the flight. */
export interface Process {
  readonly state: State.State
  readonly command: Messages.Command | undefined
  /** The counter that a read outside the flight began with. */
  readonly reading: number | undefined
  readonly asks: number
  /** The number of the newest pair of tokens that it received and that is its to keep. */
  readonly received: number
  /** What callers were released with last. */
  readonly failure: State.Failure | undefined
  readonly crashed: boolean
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
  /** The newest pair that the server issued; the pair that it replaced, and when that was first spent. */
  readonly pair: number
  readonly predecessor: number
  readonly rotatedAt: number
  /** Whether the server has not revoked the grant. */
  readonly alive: boolean
  readonly now: number
  readonly faults: number
  readonly deeds: number
  readonly ticks: number
  /** Something happened that no client can survive at a strict server: an answer or a process lost after the rotation, or a lapsed lease. */
  readonly excused: boolean
  /** A login or a logout: the number of the pair that it brought, 0 where it cleared. */
  readonly login: number | undefined
  readonly broken: string | undefined
}

/** What may happen, in words, and the world after it. */
export interface Move {
  readonly text: string
  readonly isFault: boolean
  readonly world: World
}

export const start = 1_000_000
const lifetime = 100_000
const graceSpan = 20_000
const windowSpan = 10_000

/** Moments that matter: within the window, after the window and a cool-down, after the new token has expired. */
export const tickSpans = [4_000, 30_000, 150_000]

const credentialsOf = (pair: number, from: number, server: Server): Credentials.Credentials =>
  Credentials.make({
    accessToken: `access-${pair}`,
    refreshToken: server === "reusable" ? `refresh-${pair < loginBase ? 1 : pair}` : `refresh-${pair}`,
    obtainedAt: from,
    expiresAt: from + lifetime
  })

/** Pairs of logins are numbered from here. */
export const loginBase = 100

const pairOf = (token: string): number => Number(token.slice(token.indexOf("-") + 1))

export const policyOf = (space: Space, index: number): State.Policy => ({
  credentialsTtl: 30_000,
  grace: graceSpan,
  mode: "wait",
  jitter: 0,
  coolDownBase: 1_000,
  coolDownMax: 8_000,
  leaseWait: 1e9,
  rotation: space.server === "reusable" ? reusable : rotating(space.server === "strict" ? 0 : windowSpan),
  needsRefreshToken: true,
  refreshTimeout: 30_000,
  identityOf: Option.none,
  formerly: [],
  serverAhead: 0,
  uptime: 0,
  jitterShare: index / 4,
  reportsChanges: false
})

export const clockOf = (space: Space, world: World, index: number): number =>
  world.now + (index === 1 ? space.skew : 0)

const newProcess = (asks: number): Process => ({
  state: State.initial,
  command: undefined,
  reading: undefined,
  asks,
  received: 0,
  failure: undefined,
  crashed: false,
  lapsed: false
})

export const begin = (space: Space): World => ({
  processes: Array.from({ length: space.processes }, () => newProcess(space.asks)),
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
  deeds: space.deeds,
  ticks: space.ticks,
  excused: false,
  login: undefined,
  broken: undefined
})

const storageError = (operation: "load" | "commit"): StorageError =>
  new StorageError({ reason: "Unavailable", operation, location: "store", message: "Storage is down." })
const loadError = storageError("load")
const commitError = storageError("commit")
const conflict = new CommitRefused({ reason: "Conflict", location: "store" })
const fenced = new CommitRefused({ reason: "Fenced", location: "store" })
const leaseBusy = new LeaseError({ reason: "Busy", account: "a", message: "Another holds the lease." })
const leaseDown = new LeaseError({ reason: "Unavailable", account: "a", message: "The lease is down." })
const refreshError = (reason: RefreshError["reason"]): RefreshError =>
  new RefreshError({ reason, message: `The request ended: ${reason}.` })
const invalidGrant = refreshError("GrantDead")
const maybeSent = refreshError("MaybeSent")
const notSent = refreshError("NotSent")
const busyServer = refreshError("Transient")

/** Feeds one input to a process, as the driver does. */
const feed = (space: Space, world: World, index: number, input: Messages.Input): World => {
  const process = world.processes[index]!
  const next = Step.step(policyOf(space, index), process.state, input, clockOf(space, world, index))
  const { phase } = next.state
  const isOwnFlight = input._tag === "Observed" && Option.isSome(next.command)
  return {
    ...world,
    processes: replaced(world.processes, index, {
      ...process,
      state: next.state,
      command: isOwnFlight
        ? process.command
        : Option.getOrElse(
            // A sleep that is ended may end at any moment anyway.
            Option.filter(next.command, ({ _tag }) => _tag !== "Wake"),
            () => (phase._tag === "Idle" ? undefined : process.command)
          ),
      reading: isOwnFlight
        ? next.state.writes
        : input._tag.startsWith("Observe")
          ? undefined
          : process.reading,
      failure: Option.match(next.released, {
        onNone: () => process.failure,
        onSome: ({ failure }) => Option.getOrUndefined(failure)
      })
    })
  }
}

const replaced = <A>(items: ReadonlyArray<A>, index: number, item: A): ReadonlyArray<A> =>
  items.map((old, i) => (i === index ? item : old))

const change = (world: World, index: number, fields: Partial<Process>): World => ({
  ...world,
  processes: replaced(world.processes, index, { ...world.processes[index]!, ...fields })
})

const spend = (world: World): World => ({ ...world, faults: world.faults - 1 })

/** Storage takes a commit, or refuses it. */
const applyCommit = (
  world: World,
  command: Extract<Messages.Command, { _tag: "Commit" }>
): readonly [World, Messages.Input] => {
  const { entry, expected, writes } = command
  if (entry.fence > 0 && entry.fence < world.fence) return [world, { _tag: "CommitRefused", error: fenced }]
  if (Option.getOrUndefined(expected) !== world.stored?.version) {
    return [world, { _tag: "CommitRefused", error: conflict }]
  }
  const version = String(world.serial + 1) as Version
  const next = { ...world, serial: world.serial + 1, stored: { entry, version } }
  return [next, { _tag: "Committed", entry, version, writes }]
}

/** The server answers a refresh token. */
const redeem = (
  space: Space,
  world: World,
  index: number,
  token: string
): readonly [World, Credentials.Credentials | undefined] => {
  // The client counts the lifetime from its own clock.
  const from = clockOf(space, world, index)
  if (!world.alive) return [world, undefined]
  const sent = pairOf(token)
  if (space.server === "reusable") {
    const pair = world.pair + 1
    return [{ ...world, pair, rotatedAt: world.now }, credentialsOf(pair, from, space.server)]
  }
  if (sent === world.pair) {
    const pair = world.pair + 1
    const next = { ...world, pair, predecessor: sent, rotatedAt: world.now }
    return [next, credentialsOf(pair, from, space.server)]
  }
  const isOpen =
    space.server !== "strict" && sent === world.predecessor && world.now < world.rotatedAt + windowSpan
  if (!isOpen) return [{ ...world, alive: false }, undefined]
  if (space.server === "same pair") return [world, credentialsOf(world.pair, from, space.server)]
  const pair = world.pair + 1
  // The window of a predecessor counts from its first use.
  return [{ ...world, pair }, credentialsOf(pair, from, space.server)]
}

/** All that may happen next. */
export const movesOf = (space: Space, world: World): ReadonlyArray<Move> => {
  const moves: Array<Move> = []
  const add = (text: string, next: World, isFault = false): void => {
    moves.push({ text, isFault, world: isFault ? spend(next) : next })
  }
  const isFaulty = world.faults > 0
  if (world.ticks > 0) {
    for (const span of tickSpans) {
      add(`${span / 1000} s pass`, { ...world, now: world.now + span, ticks: world.ticks - 1 })
    }
    add("all clocks are set back 60 s", { ...world, now: world.now - 60_000, ticks: world.ticks - 1 })
  }
  world.processes.forEach((process, index) => {
    const name = `process ${index + 1}`
    const at = (text: string, input: Messages.Input, from = world, isFault = false): void =>
      add(`${name}: ${text}`, feed(space, from, index, input), isFault)
    if (process.asks > 0) {
      const force = space.forced && index === 0 && process.asks === space.asks
      const had = Option.map(State.credentialsOf(process.state), ({ accessToken }) => accessToken)
      const asked = change(world, index, { asks: process.asks - 1 })
      const wants = { force, minValidity: 0, had, yields: false }
      // A caller whom the state serves starts nothing; one for whom memory is not fresh is taken to have read.
      const serves = View.decide(policyOf(space, index), process.state, clockOf(space, world, index), wants)
      if (serves._tag === "Use") add(`${name}: a caller is served`, asked)
      else at(force ? "a refresh is forced" : "a token is wanted", { _tag: "Wanted", want: wants }, asked)
    }
    if (process.reading !== undefined) {
      const loaded = Option.fromNullable(world.stored)
      at("a read ends", { _tag: "Observed", loaded, writes: process.reading })
    }
    if (world.deeds > 0) deeds(space, world, index, add)
    const { command } = process
    if (command === undefined) return
    if (isFaulty) {
      add(`${name} crashes`, crash(space, world, index), true)
      if (world.holder === index) {
        const lapsed = { ...change(world, index, { lapsed: true }), holder: -1, excused: true }
        add(`${name}: its lease lapses unnoticed`, lapsed, true)
      }
    }
    switch (command._tag) {
      case "Load":
        at("storage is read", {
          _tag: "Loaded",
          loaded: Option.fromNullable(world.stored),
          writes: command.writes
        })
        if (isFaulty) at("reading storage fails", { _tag: "LoadFailed", error: loadError }, world, true)
        break
      case "TakeLease":
        if (world.holder === -1) {
          const fence = world.fence + 1
          at(
            "the lease is taken",
            { _tag: "LeaseTaken", lease: { fence } },
            { ...world, fence, holder: index }
          )
        } else at("the lease is busy", { _tag: "LeaseFailed", error: leaseBusy })
        if (isFaulty) at("the lease does not answer", { _tag: "LeaseFailed", error: leaseDown }, world, true)
        break
      case "ConfirmLease":
        at("the lease is confirmed or not", {
          _tag: "LeaseConfirmed",
          held: world.holder === index ? "yes" : "no"
        })
        break
      case "ReleaseLease":
        at(
          "its lease is released",
          { _tag: "LeaseReleased" },
          world.holder === index ? { ...world, holder: -1 } : world
        )
        break
      case "Wait":
        // Polling while nothing has changed is the same world again.
        if (world.holder === -1 || world.holder === index) at("its sleep ends", { _tag: "Woken" })
        break
      case "Commit": {
        const [written, input] = applyCommit(world, command)
        at(input._tag === "Committed" ? "its commit is written" : "its commit is refused", input, written)
        if (!isFaulty) break
        at("its commit fails", { _tag: "CommitFailed", error: commitError }, world, true)
        if (input._tag === "Committed") {
          at(
            "its commit is written, but reported failed",
            { _tag: "CommitFailed", error: commitError },
            written,
            true
          )
        }
        break
      }
      case "Redeem":
        redemptions(space, world, index, command, at)
        break
    }
  })
  return moves
}

type At = (text: string, input: Messages.Input, from?: World, isFault?: boolean) => void

const redemptions = (
  space: Space,
  world: World,
  index: number,
  command: Extract<Messages.Command, { _tag: "Redeem" }>,
  at: At
): void => {
  const token = Option.getOrThrow(Option.flatMap(command.previous, (c) => c.refreshToken))
  const isLogin = pairOf(Redacted.value(token)) >= loginBase
  const [answered, credentials] = isLogin
    ? [world, undefined]
    : redeem(space, world, index, Redacted.value(token))
  if (isLogin) {
    // A grant of its own, always answered with a fresh token of the same refresh token.
    const fresh = credentialsOf(pairOf(Redacted.value(token)), world.now, "reusable")
    at("the server answers the new grant", { _tag: "Answered", credentials: fresh })
    return
  }
  if (credentials === undefined)
    at("the server answers invalid_grant", { _tag: "RefreshFailed", error: invalidGrant }, answered)
  else {
    const received = change(answered, index, { received: answered.pair })
    at("the server answers with new tokens", { _tag: "Answered", credentials }, received)
  }
  if (world.faults === 0) return
  at("the request is not sent", { _tag: "RefreshFailed", error: notSent }, world, true)
  at("the server answers 503", { _tag: "RefreshFailed", error: busyServer }, world, true)
  at("the connection breaks before the server", { _tag: "RefreshFailed", error: maybeSent }, world, true)
  const lost = { ...answered, excused: world.excused || answered.pair !== world.pair }
  at("the answer is lost on the way", { _tag: "RefreshFailed", error: maybeSent }, lost, true)
}

/** A process dies: memory, lease and the request under way with it; a new one starts in its place. */
const crash = (space: Space, world: World, index: number): World => {
  const process = world.processes[index]!
  const { command } = process
  // The request may have reached the server, which is the worst case.
  const sent =
    command?._tag === "Redeem"
      ? Option.match(
          Option.flatMap(command.previous, (c) => c.refreshToken),
          {
            onNone: () => world,
            onSome: (token) =>
              pairOf(Redacted.value(token)) >= loginBase
                ? world
                : redeem(space, world, index, Redacted.value(token))[0]
          }
        )
      : world
  const isLost = sent.pair !== world.pair || Option.isSome(process.state.uncommitted)
  return {
    ...change(sent, index, { ...newProcess(process.asks), crashed: true }),
    holder: world.holder === index ? -1 : world.holder,
    excused: world.excused || isLost
  }
}

/** What users do during a flight. */
const deeds = (
  space: Space,
  world: World,
  index: number,
  add: (text: string, world: World) => void
): void => {
  const left = { ...world, deeds: world.deeds - 1 }
  const process = world.processes[index]!
  const name = `process ${index + 1}`
  const at = (text: string, input: Messages.Input, from: World): void =>
    add(`${name}: ${text}`, feed(space, from, index, input))
  at("memory is invalidated", { _tag: "Invalidated" }, left)
  at("storage reports a change", { _tag: "Changed" }, left)
  if (process.reading === undefined) {
    add(`${name}: a read begins`, change(left, index, { reading: process.state.writes }))
  }
  Option.match(State.credentialsOf(process.state), {
    onNone: () => undefined,
    onSome: ({ accessToken }) => at("its token is rejected", { _tag: "Rejected", token: accessToken }, left)
  })
  const pair = loginBase + left.deeds
  const entry = Entry.saved(
    Option.map(Option.fromNullable(world.stored), (s) => s.entry),
    credentialsOf(pair, world.now, space.server)
  )
  const version = String(world.serial + 1) as Version
  at(
    "a login is saved",
    { _tag: "Saved", entry, version, writes: process.state.writes },
    { ...left, serial: world.serial + 1, stored: { entry, version }, login: pair }
  )
  at(
    "the grant is cleared",
    { _tag: "Cleared", existed: world.stored !== undefined },
    { ...left, stored: undefined, login: 0 }
  )
}
