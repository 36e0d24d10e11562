/** What must hold in every world, and in every world that has come to rest. */
import type * as Entry from "@latchkey/core/Entry"
import { Decision, State, View } from "@latchkey/core/internal-api"
import * as Option from "effect/Option"
import {
  clockOf,
  isUndisturbed,
  loginBase,
  mayLose,
  pairOf,
  policyOf,
  type Process,
  type Space,
  type World
} from "./World.js"

/** Nothing is running, and no caller waits or is still to come. */
export const isAtRest = (world: World): boolean =>
  world.processes.every(
    ({ callers, command, reading, waiting }) =>
      command === undefined && callers === 0 && reading === undefined && waiting.length === 0
  )

const refreshNumber = ({ credentials }: Entry.Entry): number =>
  Option.match(credentials.refreshToken, { onNone: () => 0, onSome: pairOf })

/** Describes the violated invariant of this world, if there is one. */
export const brokenIn = (space: Space, world: World): string | undefined => {
  if (world.broken !== undefined) return world.broken
  if (!world.alive && !mayLose(space, world))
    return "the server ended a healthy grant: a spent refresh token was sent, and nothing excuses it"
  if (world.stored !== undefined) {
    if (world.login === 0 && refreshNumber(world.stored.entry) < loginBase)
      return "a grant that was cleared is stored again"
    if ((world.login ?? 0) > 0 && refreshNumber(world.stored.entry) < loginBase)
      return "a login was overwritten by an older grant"
    if (world.alive && world.login === undefined && Option.isSome(world.stored.entry.dead))
      return "a grant that is alive is stored as dead"
  }
  for (const [index, process] of world.processes.entries()) {
    const what = brokenBy(space, world, index, process)
    if (what !== undefined) return `process ${index + 1} ${what}`
  }
  return undefined
}

const brokenBy = (
  space: Space,
  world: World,
  index: number,
  { command, lapsed, received, state }: Process
): string | undefined => {
  const { phase, uncommitted } = state
  const isIdle = phase._tag === "Idle"
  if (isIdle && Option.isSome(uncommitted) && Option.isNone(state.closing))
    return "ended its flight with a rotation that is not stored"
  if (isIdle !== (command === undefined))
    return `is in ${phase._tag} with ${command === undefined ? "nothing" : "a command"} under way`
  const needsLease = State.leaseOf(phase) !== undefined && phase._tag !== "Releasing"
  if (needsLease && world.holder !== index && !lapsed) return `is in ${phase._tag} without the lease`
  // The newest pair that the server issued is the only good one.
  const isKept = Option.exists(uncommitted, ({ entry }) => refreshNumber(entry) === received)
  const isStored = world.stored !== undefined && refreshNumber(world.stored.entry) >= received
  if (
    space.server !== "reusable" &&
    received === world.pair &&
    !isKept &&
    !isStored &&
    world.login === undefined &&
    !world.lapsed
  )
    return "dropped the rotation that it received"
  return servedBy(space, world, index, state)
}

/** The fast path is never open past the token's end, or after the token was rejected. */
const servedBy = (space: Space, world: World, index: number, state: State.State): string | undefined => {
  const now = clockOf(world, index)
  if (now < state.openFrom || now >= state.openUntil) return undefined
  if (!View.hasValidToken(policyOf(space, world), state, now)) return "serves a token that has expired"
  return State.isRejected(state) ? "serves a rejected token" : undefined
}

/** Describes the problem of a world that has come to rest. */
export const brokenAtRest = (space: Space, world: World): string | undefined => {
  if (world.holder !== -1) return "the lease is held by no flight"
  if (isUndisturbed(space, world) && !space.forced && world.pair > 2)
    return "nothing went wrong, and the grant was refreshed more than once"
  for (const [index, { state }] of world.processes.entries()) {
    const name = `process ${index + 1}`
    const decision = View.judge(policyOf(space, world), state, clockOf(world, index), Decision.anyValid)
    if (isUndisturbed(space, world) && decision._tag !== "Use")
      return `nothing went wrong, and ${name} has no token: ${decision._tag}`
    const isDead = decision._tag === "Reauthorize" && decision.reason === "GrantDead"
    if (isDead && world.alive && world.login === undefined) return `${name} takes a living grant for dead`
  }
  return undefined
}
