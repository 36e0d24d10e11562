/** A history before it happens, as data: the setting, what is done when, and what goes wrong where. */
import type { Rotation } from "@latchkey/oauth/testing"

/** Everything that a manager asks of the world outside, which may go wrong at each. */
export type Step = "load" | "commit" | "remove" | "acquire" | "isHeld" | "renew" | "release" | "redeem"

/**
 * What goes wrong with one step. `before`: it has no effect; `after`: it took effect, and its answer is
 * lost or late.
 *
 * - `crash`: the process ends at this step for good. `freeze`: it is stopped for so long, and goes on.
 * - `fail`: a typed error of the storage or the lease. `slow`: takes so much longer.
 * - Of a refresh alone: `refused` (never sent), `lost` (no answer, at once), `silence` (no answer, ever),
 *   `busy` (429), `odd` (`invalid_client`), `spoiled` (a 200 that is no token response; `salvage`: with the
 *   new refresh token in it).
 */
export type Mishap =
  | { readonly is: "crash"; readonly when: When }
  | { readonly is: "freeze" | "slow"; readonly when: When; readonly millis: number }
  | { readonly is: "fail"; readonly when: When }
  | { readonly is: "refused" | "odd" }
  | { readonly is: "lost" | "silence"; readonly when: When }
  | { readonly is: "busy"; readonly millis: number }
  | { readonly is: "spoiled"; readonly salvage: boolean }

export type When = "before" | "after"

/** The `nth` step of its kind in a slot of the fleet goes wrong. */
export interface Fault {
  readonly slot: number
  readonly on: Step
  readonly nth: number
  readonly mishap: Mishap
}

/** What a caller asks of a manager. */
export type Ask =
  | { readonly is: "get" | "refresh" | "reject" | "peek" | "status" | "explain" | "invalidate" }
  | { readonly is: "for"; readonly minValidity: number }

export type Deed =
  | {
      readonly is: "ask"
      readonly slot: number
      readonly ask: Ask
      /** The caller is interrupted after so long. */
      readonly interruptAfter?: number
    }
  /** Without warning, or by closing the scope of the manager. A new process follows. */
  | { readonly is: "kill" | "close"; readonly slot: number }
  | { readonly is: "freeze"; readonly slot: number; readonly millis: number }
  | { readonly is: "jump"; readonly machine: number; readonly millis: number }
  /** The user ends the grant at the server, removes it, logs in again. */
  | { readonly is: "revoke" }
  | { readonly is: "clear" | "login"; readonly slot: number }

/** Deeds at about one time: so long after the moment named, which lies in the life of the newest token. */
export interface Round {
  readonly from: "now" | "due" | "expiry"
  readonly offset: number
  readonly deeds: ReadonlyArray<{ readonly after: number; readonly deed: Deed }>
}

/**
 * What goes wrong. The last four aim at one thing: `lost`, answers of a server with a short window, while the
 * token is valid for long; `busy`, a server that asks to wait, and callers who insist; `rivals`, peers that
 * refresh while one who holds the lease is stopped; `users`, who close, forget, log in and remove in mid-request.
 */
export const weathers = [
  "calm",
  "network",
  "crash",
  "freeze",
  "storage",
  "lease",
  "clock",
  "all",
  "lost",
  "busy",
  "rivals",
  "users"
] as const

/** What does not change in one history; spans of time in milliseconds. */
export interface Setting {
  readonly weather: (typeof weathers)[number]
  readonly rotation: Rotation.Rotation
  /** The machine of each slot of the fleet. */
  readonly machines: ReadonlyArray<number>
  /** How wrong the clock of each machine is from the start. */
  readonly offsets: ReadonlyArray<number>
  readonly lifetime: number
  /** The longest that an answer of each kind takes when all is well. */
  readonly latency: { readonly storage: number; readonly lease: number; readonly network: number }
  readonly changes: boolean
  /** Whether storage knows the fence of a lease once it is granted, or only once it is written. */
  readonly fencesGranted: boolean
  /** How long a process that ended is missed. */
  readonly downtime: number
  readonly config: {
    readonly credentialsTtl: number
    readonly refreshGrace: number
    readonly refreshMode: "wait" | "background"
    readonly patience: number
    readonly refreshTimeout: number
    readonly leaseTtl: number
    readonly leaseWait: number
    readonly coolDownBase: number
    readonly coolDownMax: number
  }
}

export interface Plan {
  readonly seed: number
  readonly setting: Setting
  readonly rounds: ReadonlyArray<Round>
  readonly faults: ReadonlyArray<Fault>
}

/** How many things are done or go wrong; they are numbered, deeds first. */
export const size = (plan: Plan): number =>
  plan.rounds.reduce((sum, { deeds }) => sum + deeds.length, plan.faults.length)

/** The same history with only the things of these numbers. */
export const keep = (plan: Plan, numbers: ReadonlySet<number>): Plan => {
  let number = 0
  const kept = () => numbers.has(number++)
  const rounds = plan.rounds.map((round) => ({ ...round, deeds: round.deeds.filter(kept) }))
  return { ...plan, rounds, faults: plan.faults.filter(kept) }
}
