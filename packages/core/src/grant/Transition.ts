/**
 * The building blocks of the machine's transitions. Pure.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import * as Decision from "../Decision.js"
import type * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import * as TokenEvent from "../TokenEvent.js"
import type { RefreshError } from "../TokenRefresher.js"
import type { StorageError } from "../TokenStorage.js"
import * as Age from "./Age.js"
import type { Merged } from "./Merge.js"
import type { Command, Input, Next } from "./Messages.js"
import {
  type Attempt,
  entryOf,
  type Failure,
  leaseOf,
  mismatchOf,
  momentOf,
  type Phase,
  type Policy,
  replayOf,
  type State
} from "./State.js"

export type PhaseOf<Tag extends Phase["_tag"]> = Extract<Phase, { readonly _tag: Tag }>
export type InputOf<Tag extends Input["_tag"]> = Extract<Input, { readonly _tag: Tag }>
export type Events = Next["events"]

/** How often a writer in our way is answered by reading again before we give up for now. */
export const maxConflicts = 5

/** How long, in milliseconds, a process sleeps at first while another holds the lease, and at most. */
export const firstPause = 20
export const longestPause = 500

export const idle: Phase = { _tag: "Idle" }

export const unchanged = (state: State): Next => ({
  state,
  command: Option.none(),
  events: [],
  released: Option.none()
})

/** The state changes, and the flight goes on as it was. */
export const stay = (state: State, events: Events = []): Next => ({ ...unchanged(state), events })

export const go = (state: State, phase: Phase, command: Command, events: Events = []): Next => ({
  state: { ...state, phase },
  command: Option.some(command),
  events,
  released: Option.none()
})

/** The flight is over, but for the release of its lease. */
export const end = (state: State, failure: Option.Option<Failure>, events: Events = []): Next => {
  const lease = leaseOf(state.phase)
  return lease === undefined
    ? over(state, failure, events)
    : go(
        state,
        { _tag: "Releasing", lease, failure, retries: Option.none() },
        { _tag: "ReleaseLease", lease },
        events
      )
}

export const over = (state: State, failure: Option.Option<Failure>, events: Events = []): Next => ({
  state: { ...state, phase: idle },
  command: Option.none(),
  events,
  released: Option.some({ failure })
})

export const withEvents = (events: Events, next: Next): Next =>
  events.length === 0 ? next : { ...next, events: [...events, ...next.events] }

/** The flight ends because storage or the lease failed: they are not asked by every caller in turn. */
export const abandon = (policy: Policy, state: State, failure: Failure, now: number): Next => {
  const message =
    failure._tag === "StorageFailed"
      ? failure.error.message
      : failure._tag === "Unavailable"
        ? failure.message
        : ""
  const cooled = { ...cool(policy, state, now, { reason: "Failed" }), lastFailure: message }
  const events =
    failure._tag === "StorageFailed"
      ? [storageFailed(failure.error, now)]
      : failure._tag === "RolledBack"
        ? [TokenEvent.StorageFailed({ at: now, reason: "RolledBack", operation: "load" })]
        : []
  return end(cooled, Option.some(failure), [...events, ...coolDownBegan(cooled, now)])
}

export const load = ({ writes }: State): Command => ({ _tag: "Load", writes })

export const commit = (
  { writes }: State,
  entry: Entry.Entry,
  expected: Extract<Command, { _tag: "Commit" }>["expected"]
): Command => ({
  _tag: "Commit",
  entry,
  expected,
  writes
})

/**
 * Our commit went through. Where the grant changed here since it began, nobody knows which was the last: storage is
 * read again.
 */
export const noteCommitted = (
  policy: Policy,
  state: State,
  { entry, version, writes }: InputOf<"Committed">,
  now: number
): State => {
  if (writes !== state.writes) return { ...state, memory: { _tag: "Unread" } }
  const moment = momentOf(policy, now)
  const isOwn = Age.isJustNow(entry.credentials, now)
  const age = Age.hold(state.age, Option.some(entry.credentials), moment, isOwn, Option.none())
  return {
    ...state,
    memory: { _tag: "Read", stored: Option.some({ entry, version }), at: now },
    age: { ...age, readAt: Option.some(moment) },
    newest: Option.some(entry),
    writes: state.writes + 1
  }
}

export const cool = (
  policy: Policy,
  state: State,
  now: number,
  options: {
    readonly reason: Exclude<Decision.CoolingDown["reason"], "ServerAsked">
    readonly failures?: number
    readonly retryAfter?: Option.Option<number>
    readonly shared?: Option.Option<number>
  }
): State => ({
  ...state,
  coolDown: Option.some(
    Decision.coolDown({
      failures:
        options.failures ?? 1 + Option.match(state.coolDown, { onNone: () => 0, onSome: (c) => c.failures }),
      now,
      policy,
      reason: options.reason,
      retryAfter: options.retryAfter ?? Option.none(),
      shared: options.shared ?? Option.none(),
      before: state.coolDown,
      replay: replayOf(policy, state, now),
      jitterShare: policy.jitterShare
    })
  )
})

export const coolDownBegan = (state: State, now: number): Events =>
  Option.match(state.coolDown, {
    onNone: () => [],
    onSome: ({ reason, until }) => [TokenEvent.CoolingDownBegan({ at: now, until, reason })]
  })

export const retryAfterOf = ({ retryAfter }: RefreshError): Option.Option<number> =>
  Option.map(Option.fromNullable(retryAfter), Duration.toMillis)

export const busy = (message: string, now: number): Failure => ({
  _tag: "Unavailable",
  reason: "LeaseBusy",
  retryAt: now + 1000,
  message,
  cause: undefined
})

export const storageError = (error: StorageError): Failure => ({ _tag: "StorageFailed", error })

export const storageFailed = ({ operation, reason }: StorageError, at: number) =>
  TokenEvent.StorageFailed({ at, reason, operation })

export const saveFailed = (state: State, reason: string, at: number) =>
  TokenEvent.SaveFailed({
    at,
    reason,
    generation: Option.match(state.uncommitted, { onNone: () => 0, onSome: ({ entry }) => entry.generation })
  })

export const identify = ({ credentials, generation }: Entry.Entry) => ({
  generation,
  token: Fingerprint.of(credentials.accessToken)
})

export const savedEvent = (entry: Entry.Entry, at: number) => TokenEvent.Saved({ at, ...identify(entry) })

/** Newer credentials were found in storage, or a grant that is not ours to use. */
export const found = (policy: Policy, merged: Changed, at: number): Events => {
  const mismatch = mismatchOf(policy, merged.state)
  if (Option.isSome(mismatch)) return [TokenEvent.GrantMismatch({ at, reason: mismatch.value.difference })]
  return merged.isAdopted
    ? Option.toArray(Option.map(entryOf(merged.state), (e) => TokenEvent.Adopted({ at, ...identify(e) })))
    : []
}

type Changed = Extract<Merged, { readonly _tag: "Changed" }>

/** Nothing was sent under this intent, although storage may hold it. */
export const ownIntentKnown = (state: State, entry: Entry.Entry, { before }: Attempt): State => ({
  ...state,
  ownIntent: Option.orElse(
    Option.map(entry.intent, (intent) => ({ intent, means: before })),
    () => state.ownIntent
  )
})

export const attemptAfter = (before: Option.Option<Entry.Intent>): number =>
  1 + Option.match(before, { onNone: () => 0, onSome: ({ attempt }) => attempt })

/** What was wrong with the response that brought these credentials. */
export const warnings = (credentials: Credentials.Credentials, at: number): Events =>
  Credentials.warnings(credentials).map((warning) => TokenEvent.ResponseWarning({ at, ...warning }))
