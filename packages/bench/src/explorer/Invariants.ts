/** What must hold in every world, and in every world that has come to rest. */
import { Decision, Expiry, State, View } from "@latchkey/core/internal-api"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { clockOf, loginBase, policyOf, type Space, type World } from "./World.js"

/** Nobody has a command under way, and nobody asks any more. */
export const isAtRest = (world: World): boolean =>
  world.processes.every(
    ({ asks, command, reading }) => command === undefined && asks === 0 && reading === undefined
  )

const refreshNumber = (entry: {
  readonly credentials: { readonly refreshToken: Option.Option<Redacted.Redacted> }
}) =>
  Option.match(entry.credentials.refreshToken, {
    onNone: () => 0,
    onSome: (token) => Number(Redacted.value(token).split("-")[1])
  })

/** What is broken in this world, in words, if anything. */
export const brokenIn = (space: Space, world: World): string | undefined => {
  if (!world.alive && !world.excused && !isLastResort(space, world)) {
    return "the server ended a healthy grant: a spent refresh token was sent although no answer and no process was lost"
  }
  for (const [index, process] of world.processes.entries()) {
    const { phase, uncommitted } = process.state
    const name = `process ${index + 1}`
    if (phase._tag === "Idle" && Option.isSome(uncommitted))
      return `${name} ended its flight with a rotation that is not stored`
    if (phase._tag !== "Idle" && process.command === undefined)
      return `${name} is in ${phase._tag} with nothing under way`
    if (phase._tag === "Idle" && process.command !== undefined)
      return `${name} is idle with a command under way`
    const needsLease = State.leaseOf(phase) !== undefined
    if (needsLease && world.holder !== index && !process.lapsed && phase._tag !== "Releasing")
      return `${name} is in ${phase._tag} without the lease`
    const served = servedBy(space, world, index)
    if (served !== undefined) return `${name} ${served}`
    const { received } = process
    const isKept = Option.exists(uncommitted, ({ entry }) => refreshNumber(entry) === received)
    const isStored = world.stored !== undefined && refreshNumber(world.stored.entry) >= received
    const isReplaced = world.login !== undefined || world.excused
    if (
      space.server !== "reusable" &&
      received === world.pair &&
      !isKept &&
      !isStored &&
      !isReplaced &&
      received > 0
    ) {
      return `${name} dropped the rotation that it received`
    }
  }
  if (world.login !== undefined && world.login > 0 && world.stored !== undefined) {
    if (refreshNumber(world.stored.entry) < loginBase) return "a login was overwritten by an older grant"
  }
  if (world.login === 0 && world.stored !== undefined) return "a grant that was cleared is stored again"
  return undefined
}

/** A strict server's grant may end when a lost answer's token is tried once more at the very end. */
const isLastResort = (space: Space, world: World): boolean =>
  space.server !== "reusable" &&
  world.processes.some(
    ({ state: { phase } }) =>
      ("attempt" in phase && Option.isSome(phase.attempt.replay)) || phase._tag === "Idle"
  ) &&
  world.faults < space.faults &&
  world.excused

/** The token in memory is never served past its end, nor when it was rejected. */
const servedBy = (space: Space, world: World, index: number): string | undefined => {
  const { state } = world.processes[index]!
  const now = clockOf(space, world, index)
  const isOpen = now >= state.openFrom && now < state.openUntil
  if (!isOpen) return undefined
  const credentials = State.credentialsOf(state)
  if (Option.isNone(credentials)) return "serves a token that it does not have"
  if (Expiry.isExpired(credentials.value, now)) return "serves an expired token"
  return State.isRejected(state) ? "serves a rejected token" : undefined
}

/** What is wrong with a world that has come to rest. */
export const brokenAtRest = (space: Space, world: World): string | undefined => {
  if (world.holder !== -1) return "the lease is held by nobody's flight"
  for (const [index, { failure, state }] of world.processes.entries()) {
    const name = `process ${index + 1}`
    const policy = policyOf(space, index)
    const now = clockOf(space, world, index)
    const decision = View.judge(policy, state, now, Decision.anyValid)
    const isQuiet =
      space.skew === 0 &&
      space.faults === world.faults &&
      space.deeds === world.deeds &&
      space.ticks === world.ticks
    if (isQuiet && decision._tag !== "Use")
      return `nothing went wrong, and ${name} has no token: ${decision._tag}`
    if (
      decision._tag === "Reauthorize" &&
      decision.reason === "GrantDead" &&
      world.alive &&
      world.login === undefined
    ) {
      return `${name} takes a living grant for dead`
    }
    if (decision._tag === "Refresh" && failure?._tag === "Decided" && failure.decision._tag === "Use") {
      return `${name} ended with a decision to serve as its failure`
    }
  }
  return undefined
}
