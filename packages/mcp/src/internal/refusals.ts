/**
 * Which token a 401 was for, where nobody says so: the SDK's `AuthProvider` hands out tokens, and is only told that one was
 * refused. Pure.
 */
import * as Option from "effect/Option"

/** The last token that was handed out, since when, and whether another one was in use shortly before. */
export interface Handed {
  readonly token: Option.Option<string>
  readonly since: number
  readonly isSuccessor: boolean
}

export const none: Handed = { token: Option.none(), since: -Infinity, isSuccessor: false }

/** `Former`: a token that was replaced since. `None`: no token was sent. */
export type Refused =
  | { readonly _tag: "Former" }
  | { readonly _tag: "None" }
  | { readonly _tag: "Current"; readonly token: string }

/**
 * For how long after a token was replaced a 401 may still be for the one before, in milliseconds: about as long as an
 * answer takes. A token that is refused within that time is replaced at the next 401.
 */
export const settling = 500

export const handOut = (state: Handed, token: Option.Option<string>, now: number): Handed => {
  const before = Option.getOrUndefined(state.token)
  const after = Option.getOrUndefined(token)
  return before === after ? state : { token, since: now, isSuccessor: before !== undefined }
}

/**
 * A 401 right after a replacement is that of the token before, once: the transport sends again, with the new one. A refresh
 * for it would be one too many.
 */
export const refuse = (state: Handed, now: number): { readonly refused: Refused; readonly state: Handed } => {
  if (Option.isNone(state.token)) return { refused: { _tag: "None" }, state }
  if (state.isSuccessor && now - state.since < settling) {
    return { refused: { _tag: "Former" }, state: { ...state, isSuccessor: false } }
  }
  return { refused: { _tag: "Current", token: state.token.value }, state }
}
