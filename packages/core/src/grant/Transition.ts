/** The building blocks of the machine's transitions. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import type * as Entry from "../Entry.js"
import * as Fingerprint from "../Fingerprint.js"
import * as TokenEvent from "../TokenEvent.js"
import type { RefreshError } from "../TokenRefresher.js"
import type { StorageError } from "../TokenStorage.js"
import * as Age from "./Age.js"
import * as BackOff from "./BackOff.js"
import type { Command, Input, Next } from "./Messages.js"
import { type Attempt, type Failure, leaseOf, type Phase, type Policy, type State } from "./State.js"
import { momentOf, replayOf } from "./View.js"

export type PhaseOf<Tag extends Phase["_tag"]> = Extract<Phase, { readonly _tag: Tag }>
export type InputOf<Tag extends Input["_tag"]> = Extract<Input, { readonly _tag: Tag }>
export type Events = Next["events"]

/** The policy, and the time at which an input arrives. */
export interface At {
  readonly policy: Policy
  readonly now: number
}

/** How often the machine reads again because another writer was faster, before it gives up for now. */
export const maxConflicts = 5

const idle: Phase = { _tag: "Idle" }

// --- Next steps ---

/** The state may change. The flight goes on unchanged. */
export const stay = (state: State, events: Events = []): Next => ({
  state,
  command: Option.none(),
  events,
  released: Option.none()
})

/** The flight goes on to another phase. */
export const go = (state: State, phase: Phase, command: Command, events: Events = []): Next => ({
  ...stay({ ...state, phase }, events),
  command: Option.some(command)
})

/** The flight is over, except for the release of its lease. */
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
  ...stay({ ...state, phase: idle }, events),
  released: Option.some({ failure })
})

/**
 * The flight ends because storage or the lease failed. The cool-down keeps callers from trying again one
 * after another.
 */
export const abandon = ({ now, policy }: At, state: State, failure: Failure): Next => {
  const cooled = { ...cool({ now, policy }, state, { reason: "Failed" }), lastFailure: messageOf(failure) }
  const events =
    failure._tag === "StorageFailed"
      ? [storageFailed(failure.error, now)]
      : failure._tag === "RolledBack"
        ? [rolledBack(now)]
        : []
  return end(cooled, Option.some(failure), [...events, ...coolDownBegan(cooled, now)])
}

const messageOf = (failure: Failure): string =>
  failure._tag === "StorageFailed"
    ? failure.error.message
    : failure._tag === "Unavailable"
      ? failure.message
      : ""

/** Callers look at the state again, while the flight goes on. */
export const release = (next: Next, failure: Option.Option<Failure>): Next => ({
  ...next,
  released: Option.some({ failure })
})

export const withEvents = (events: Events, next: Next): Next =>
  events.length === 0 ? next : { ...next, events: [...events, ...next.events] }

/** The flight looks again at once if it sleeps. */
export const wake = (state: State, events: Events = []): Next => ({
  ...stay(state, events),
  command: isSleeping(state.phase) ? Option.some({ _tag: "Wake" }) : Option.none()
})

const isSleeping = (phase: Phase): boolean => {
  switch (phase._tag) {
    case "Waiting":
      return !phase.isReading
    case "Merging":
      return phase.stage === "Sleeping"
    case "MarkingDead":
    case "Retracting":
      return phase.isSleeping
    default:
      return false
  }
}

// --- Commands ---

export const load = ({ writes }: State): Command => ({ _tag: "Load", writes })

export const commit = (
  { writes }: State,
  entry: Entry.Entry,
  expected: Extract<Command, { _tag: "Commit" }>["expected"]
): Command => ({ _tag: "Commit", entry, expected, writes })

// --- States ---

/**
 * Our commit succeeded. If the grant changed here since it began, the order of the writes is unknown, so
 * storage is read again.
 */
export const afterCommit = (
  { now, policy }: At,
  state: State,
  { entry, version, writes }: InputOf<"Committed">
): State =>
  writes === state.writes
    ? { ...inStorage({ now, policy }, state, { entry, version }), writes: state.writes + 1 }
    : { ...state, memory: { _tag: "Unread" } }

/** Storage holds this entry, which this process wrote. */
export const inStorage = (
  { now, policy }: At,
  state: State,
  { entry, version }: Pick<InputOf<"Committed">, "entry" | "version">
): State => ({
  ...state,
  memory: { _tag: "Read", stored: Option.some({ entry, version }), at: now },
  age: Age.written(state.age, entry.credentials, momentOf(policy, now)),
  newest: Option.some(entry)
})

export const cool = (
  { now, policy }: At,
  state: State,
  options: {
    readonly reason: Exclude<BackOff.CoolingDown["reason"], "ServerAsked">
    readonly failures?: number
    readonly retryAfter?: Option.Option<number>
    readonly shared?: Option.Option<number>
  }
): State => ({
  ...state,
  coolDown: Option.some(
    BackOff.coolDown({
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

/**
 * The outcome of this attempt is known, so its intent is no longer open, although storage may still hold it.
 */
export const settleIntent = (state: State, { marked, olderIntent }: Attempt): State => ({
  ...state,
  ownIntent: Option.orElse(
    Option.map(
      Option.flatMap(marked, ({ entry }) => entry.intent),
      (intent) => ({ intent, older: olderIntent })
    ),
    () => state.ownIntent
  )
})

// --- Failures ---

export const busy = (message: string, now: number): Failure => ({
  _tag: "Unavailable",
  reason: "LeaseBusy",
  retryAt: now + 1000,
  message,
  cause: undefined
})

export const busyWriters = (now: number): Failure =>
  busy("Other writers keep changing the credentials; try again.", now)

export const storageError = (error: StorageError): Failure => ({ _tag: "StorageFailed", error })

export const retryAfterOf = ({ retryAfter }: RefreshError): Option.Option<number> =>
  Option.map(Option.fromNullable(retryAfter), Duration.toMillis)

// --- Events ---

export const coolDownBegan = (state: State, now: number): Events =>
  Option.toArray(state.coolDown).map(({ reason, until }) =>
    TokenEvent.CoolingDownBegan({ at: now, until, reason })
  )

export const storageFailed = ({ operation, reason }: StorageError, at: number) =>
  TokenEvent.StorageFailed({ at, reason, operation })

export const rolledBack = (at: number) =>
  TokenEvent.StorageFailed({ at, reason: "RolledBack", operation: "load" })

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

export const saved = (entry: Entry.Entry, at: number) => TokenEvent.Saved({ at, ...identify(entry) })

/** Problems with the response that brought these credentials. */
export const warnings = (credentials: Credentials.Credentials, at: number): Events =>
  Credentials.warnings(credentials).map((warning) => TokenEvent.ResponseWarning({ at, ...warning }))
