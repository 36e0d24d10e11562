/** All moves that are possible in a world, described in words. */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { type Messages, State } from "@latchkey/core/internal-api"
import { LeaseError } from "@latchkey/core/RefreshLease"
import { RefreshError } from "@latchkey/core/TokenRefresher"
import { CommitRefused, type Version } from "@latchkey/core/TokenStorage"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import {
  call,
  change,
  clockOf,
  credentialsOf,
  feed,
  loginBase,
  losePatience,
  newProcess,
  pairOf,
  redeem,
  type Space,
  storageDown,
  type World
} from "./World.js"

/** A possible move, and the world after it. */
export interface Move {
  readonly text: string
  readonly isFault: boolean
  readonly world: World
}

/**
 * Moments that matter: within the window, after the window and a cool-down, after the new token has expired.
 */
const tickSpans = [4_000, 30_000, 150_000]
/** By how much the clock of one process is set. */
const jumps = [-60_000, 60_000]

const commitRefused = (reason: CommitRefused["reason"]) => new CommitRefused({ reason, location: "store" })
const conflict = commitRefused("Conflict")
const fenced = commitRefused("Fenced")
const leaseFailed = (reason: LeaseError["reason"]): Messages.Input => ({
  _tag: "LeaseFailed",
  error: new LeaseError({ reason, account: "a", message: `The lease: ${reason}.` })
})
const leaseBusy = leaseFailed("Busy")
const leaseDown = leaseFailed("Unavailable")
const refreshFailed = (
  reason: RefreshError["reason"],
  more: Partial<Pick<RefreshError, "retryAfter" | "salvaged">> = {}
): Messages.Input => ({
  _tag: "RefreshFailed",
  error: new RefreshError({ reason, message: `The request ended: ${reason}.`, ...more })
})
const invalidGrant = refreshFailed("GrantDead")
const maybeSent = refreshFailed("MaybeSent")
const notSent = refreshFailed("NotSent")
const busyServer = refreshFailed("Transient")
const unreadable = refreshFailed("Malformed")
const loadDown = storageDown("load")
const commitDown: Messages.Input = { _tag: "CommitFailed", error: storageDown("commit") }
const isOver: Messages.Input = { _tag: "Overdue", message: "No answer in time." }

const spent = (world: World): World => ({ ...world, faults: world.faults - 1 })

/** Adds the moves of one process. */
type At = (text: string, input: Messages.Input, from?: World, isFault?: boolean) => void

/** All moves that are possible next. */
export const movesOf = (space: Space, world: World): ReadonlyArray<Move> => {
  const moves: Array<Move> = []
  const add = (text: string, next: World, isFault = false): void =>
    void moves.push({ text, isFault, world: next })
  if (world.ticks > 0) passTime(world, add)
  for (const index of world.processes.keys()) {
    const at: At = (text, input, from = world, isFault = false) =>
      add(`process ${index + 1}: ${text}`, feed(space, isFault ? spent(from) : from, index, input), isFault)
    callers(space, world, index, at, add)
    if (world.actions > 0) userActions(space, world, index, at, add)
    if (world.processes[index]!.command === undefined) continue
    if (world.faults > 0) outages(space, world, index, add)
    outcomes(space, world, index, at)
  }
  return moves
}

type Add = (text: string, world: World, isFault?: boolean) => void

const passTime = (world: World, add: Add): void => {
  const left = { ...world, ticks: world.ticks - 1 }
  for (const span of tickSpans) add(`${span / 1000} s pass`, { ...left, now: world.now + span })
  world.processes.forEach(({ ahead }, index) => {
    for (const by of jumps)
      add(
        `the clock of process ${index + 1} jumps by ${by / 1000} s`,
        change(left, index, { ahead: ahead + by })
      )
  })
}

const callers = (space: Space, world: World, index: number, at: At, add: Add): void => {
  const process = world.processes[index]!
  const name = `process ${index + 1}`
  if (process.callers > 0) {
    const force = space.forced && index === 0 && process.callers === space.callers
    const next = call(space, world, index, { force, minValidity: 0 })
    add(`${name}: a caller ${force ? "forces a refresh" : "wants a token"}`, next)
  }
  process.waiting.forEach((one, place) => {
    if ("joins" in one && one.patience !== Infinity)
      add(`${name}: a caller loses patience`, losePatience(space, world, index, place))
  })
  if (process.reading === undefined) return
  const loaded = Option.fromNullable(world.stored)
  at("a read for callers ends", { _tag: "Observed", loaded, writes: process.reading })
  if (world.faults > 0)
    at("a read for callers fails", { _tag: "ObserveFailed", error: loadDown }, world, true)
}

/** A crash, and a lease that lapses without the holder's knowledge. */
const outages = (space: Space, world: World, index: number, add: Add): void => {
  const name = `process ${index + 1}`
  add(`${name} crashes`, crash(space, spent(world), index), true)
  if (world.holder !== index) return
  const lapsed = { ...change(spent(world), index, { lapsed: true }), holder: -1, lapsed: true }
  add(`${name}: its lease lapses unnoticed`, lapsed, true)
}

/** A process dies with its memory, its lease and its running request. A new one starts in its place. */
const crash = (space: Space, world: World, index: number): World => {
  const { ahead, arriving, callers, command, state } = world.processes[index]!
  // The request may have reached the server, which is the worst case.
  const [sent] =
    command?._tag === "Redeem" && arriving === undefined
      ? redeem(space, world, index, tokenOf(command))
      : [world]
  const isLost =
    sent.pair !== world.pair || arriving?.credentials !== undefined || Option.isSome(state.uncommitted)
  return {
    ...change(sent, index, newProcess(callers, ahead)),
    holder: world.holder === index ? -1 : world.holder,
    lost: world.lost || isLost
  }
}

/** How the running command may end. */
const outcomes = (space: Space, world: World, index: number, at: At): void => {
  const command = world.processes[index]!.command!
  const isFaulty = world.faults > 0
  const fails = (text: string, input: Messages.Input, from = world): void => {
    if (isFaulty) at(text, input, from, true)
  }
  switch (command._tag) {
    case "Load":
      at("storage is read", {
        _tag: "Loaded",
        loaded: Option.fromNullable(world.stored),
        writes: command.writes
      })
      return fails("reading storage fails", { _tag: "LoadFailed", error: loadDown })
    case "TakeLease": {
      const fence = world.fence + 1
      if (world.holder !== -1) at("the lease is busy", leaseBusy)
      else
        at(
          "the lease is taken",
          { _tag: "LeaseTaken", lease: { fence } },
          { ...change(world, index, { lapsed: false }), fence, holder: index }
        )
      return fails("the lease does not answer", leaseDown)
    }
    case "ConfirmLease": {
      const held = world.holder === index ? "yes" : "no"
      at(`the lease is ${held === "yes" ? "" : "not "}confirmed`, { _tag: "LeaseConfirmed", held })
      return fails("the lease does not answer", { _tag: "LeaseConfirmed", held: "unknown" })
    }
    case "ReleaseLease":
      return at(
        "its lease is released",
        { _tag: "LeaseReleased" },
        world.holder === index ? { ...world, holder: -1 } : world
      )
    case "Wait":
      // Polling without a change leads to the same world.
      if (world.holder === -1 || world.holder === index) at("its sleep ends", { _tag: "Woken" })
      return
    case "Commit": {
      const [written, input] = applyCommit(world, command)
      const isWritten = input._tag === "Committed"
      at(isWritten ? "its commit is written" : "its commit is refused", input, written)
      fails("its commit fails", commitDown)
      if (isWritten) fails("its commit is written, but reported failed", commitDown, written)
      return
    }
    case "Redeem":
      return answers(space, world, index, command, at, fails)
    case "Wake":
      return
  }
}

/** Storage accepts a commit, or refuses it. */
const applyCommit = (
  world: World,
  { entry, expected, writes }: Extract<Messages.Command, { _tag: "Commit" }>
): readonly [World, Messages.Input] => {
  if (entry.fence > 0 && entry.fence < world.fence) return [world, { _tag: "CommitRefused", error: fenced }]
  if (Option.getOrUndefined(expected) !== world.stored?.version)
    return [world, { _tag: "CommitRefused", error: conflict }]
  const version = String(world.serial + 1) as Version
  return [
    { ...world, serial: world.serial + 1, stored: { entry, version } },
    { _tag: "Committed", entry, version, writes }
  ]
}

type Redeem = Extract<Messages.Command, { _tag: "Redeem" }>

const previousOf = ({ previous }: Redeem): Credentials.Credentials => Option.getOrThrow(previous)
const tokenOf = (command: Redeem): Redacted.Redacted => Option.getOrThrow(previousOf(command).refreshToken)

const answers = (
  space: Space,
  world: World,
  index: number,
  command: Redeem,
  at: At,
  fails: (text: string, input: Messages.Input, from?: World) => void
): void => {
  const { arriving } = world.processes[index]!
  const [reached, credentials] =
    arriving === undefined ? redeem(space, world, index, tokenOf(command)) : [world, arriving.credentials]
  const isRotated = credentials !== undefined && pairOf(tokenOf(command)) < loginBase
  const lost = { ...reached, lost: world.lost || isRotated }
  if (credentials === undefined) at("the server answers invalid_grant", invalidGrant, reached)
  else {
    const { received } = world.processes[index]!
    const keeps = change(reached, index, { received: isRotated ? reached.pair : received })
    at("the server answers with new tokens", { _tag: "Answered", credentials }, keeps)
    const { accessToken, expiresAt } = previousOf(command)
    if (world.faults === 0) return
    // The access token is unusable, and the refresh token is good.
    const salvaged = Credentials.make({
      accessToken,
      refreshToken: Option.getOrThrow(credentials.refreshToken),
      expiresAt: Option.getOrUndefined(expiresAt)
    })
    fails("the answer is spoiled, but for its refresh token", refreshFailed("Malformed", { salvaged }), keeps)
    fails("the answer cannot be read", unreadable, lost)
  }
  fails("the answer is lost on the way", maybeSent, lost)
  if (arriving !== undefined) return
  if (command.readsOn) {
    fails(
      "its time is over, and the answer has begun to arrive",
      isOver,
      change(reached, index, { arriving: { credentials } })
    )
  }
  fails("the request is not sent", notSent)
  fails("the server answers 503", busyServer)
  fails("the connection breaks before the server", maybeSent)
}

/** The actions of users, and of other programs. */
const userActions = (space: Space, world: World, index: number, at: At, add: Add): void => {
  const left = { ...world, actions: world.actions - 1 }
  const { command, state, waiting } = world.processes[index]!
  at("memory is invalidated", { _tag: "Invalidated" }, left)
  at("storage reports a change", { _tag: "Changed" }, left)
  const credentials = State.credentialsOf(state)
  if (Option.isSome(credentials)) {
    const token = credentials.value.accessToken
    at("its token is rejected", { _tag: "Rejected", token }, left)
  }
  const pair = loginBase + left.actions
  const entry = Entry.saved(
    Option.map(Option.fromNullable(world.stored), (s) => s.entry),
    credentialsOf(pair, clockOf(world, index), space.server)
  )
  const version = String(world.serial + 1) as Version
  at(
    "a login is saved",
    { _tag: "Saved", entry, version, writes: state.writes },
    { ...left, serial: world.serial + 1, stored: { entry, version }, login: pair }
  )
  at(
    "the grant is cleared",
    { _tag: "Cleared", existed: world.stored !== undefined },
    { ...left, stored: undefined, login: 0 }
  )
  if (command !== undefined || waiting.length > 0) {
    const until = clockOf(world, index) + 5_000
    add(
      `process ${index + 1}: its scope closes`,
      feed(space, change(left, index, { callers: 0 }), index, { _tag: "Closing", until })
    )
  }
}
