/** Reconciles what storage holds with what memory holds, and detects a storage that was rolled back. */
import * as Option from "effect/Option"
import * as Credentials from "../Credentials.js"
import * as Entry from "../Entry.js"
import type { Versioned } from "../TokenStorage.js"
import * as Age from "./Age.js"
import { credentialsOf, entryOf, type Policy, type State, type Uncommitted } from "./State.js"
import { momentOf } from "./View.js"

/**
 * The outcome of a read of storage. `RolledBack`: storage holds an earlier state than one seen before, whose
 * refresh token is spent. The state is unchanged.
 */
export type Merged =
  | { readonly _tag: "Unchanged"; readonly state: State }
  | { readonly _tag: "Changed"; readonly state: State; readonly isAdopted: boolean }
  | { readonly _tag: "RolledBack" }

/**
 * Returns the state after a read of storage at `now`. A change of the grant ends the cool-down, the dead
 * mark, and any rotation of ours that it supersedes. While storage only lags behind a rotation, the rotation
 * is kept.
 */
export const reconcile = (
  policy: Policy,
  state: State,
  loaded: Option.Option<Versioned>,
  now: number
): Merged => {
  const uncommitted = Option.filter(state.uncommitted, (u) => lags(u, loaded))
  const isRolledBack = Option.exists(Option.all([loaded, state.newest]), ([l, newest]) =>
    Entry.isRolledBack(l.entry, newest)
  )
  if (isRolledBack && Option.isNone(uncommitted)) return { _tag: "RolledBack" }
  const had = credentialsOf(state)
  // Reading the same grant again after an invalidation is not a change.
  const known =
    state.memory._tag === "Unread" && Option.isNone(had)
      ? Option.map(state.newest, ({ credentials }) => credentials)
      : had
  const read: State = { ...state, memory: { _tag: "Read", stored: loaded, at: now }, uncommitted }
  const has = credentialsOf(read)
  const next: State = { ...read, age: Age.read(state.age, has, momentOf(policy, now)) }
  if (isSameGrant(known, has)) return { _tag: "Unchanged", state: next }
  return {
    _tag: "Changed",
    state: {
      ...next,
      writes: state.writes + 1,
      coolDown: Option.none(),
      dead: Option.none(),
      newest: entryOf(next)
    },
    isAdopted: Option.isSome(had) && Option.isSome(has)
  }
}

/** Whether storage still holds the entry whose refresh token an uncommitted rotation spent. */
export const lags = ({ base, entry }: Uncommitted, loaded: Option.Option<Versioned>): boolean =>
  Option.match(base, {
    onNone: () => Option.isNone(loaded),
    onSome: (b) =>
      Option.exists(
        loaded,
        (l) =>
          l.entry.family === b.family &&
          Credentials.sameRefreshToken(l.entry.credentials, b.credentials) &&
          // If the refresh token stays the same, an entry that a peer has written since is newer, and nothing
          // is lost.
          !(
            l.entry.generation > b.generation &&
            Credentials.sameRefreshToken(entry.credentials, b.credentials)
          )
      )
  })

const isSameGrant = (
  a: Option.Option<Credentials.Credentials>,
  b: Option.Option<Credentials.Credentials>
): boolean =>
  Option.match(Option.all([a, b]), {
    onNone: () => Option.isNone(a) && Option.isNone(b),
    onSome: ([x, y]) => Credentials.sameAccessToken(x, y) && Credentials.sameRefreshToken(x, y)
  })
