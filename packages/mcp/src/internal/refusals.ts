/**
 * Decides which token a 401 was for. The SDK asks an `AuthProvider` for tokens, but does not name the token that the
 * server refused. Pure.
 */
import * as Option from "effect/Option"

/** The token that the SDK uses now, since when, and whether it replaced another token. */
export interface Handed {
  readonly token: Option.Option<string>
  readonly since: number
  readonly isSuccessor: boolean
}

export const none: Handed = { token: Option.none(), since: -Infinity, isSuccessor: false }

/** `Former`: a token that has been replaced. `None`: the request had no token. */
export type Refused =
  | { readonly _tag: "Former" }
  | { readonly _tag: "None" }
  | { readonly _tag: "Current"; readonly token: string }

/**
 * How long after a replacement a 401 may still be for the former token, in milliseconds: about the time of one response.
 * If the server refuses the new token within this time, the next 401 replaces it.
 */
export const settling = 500

export const handOut = (state: Handed, token: Option.Option<string>, now: number): Handed => {
  const before = Option.getOrUndefined(state.token)
  const after = Option.getOrUndefined(token)
  return before === after ? state : { token, since: now, isSuccessor: before !== undefined }
}

/**
 * The first 401 right after a replacement is for the former token: the transport sends the request again with the new
 * token, and no refresh is needed.
 */
export const refuse = (state: Handed, now: number): { readonly refused: Refused; readonly state: Handed } => {
  if (Option.isNone(state.token)) return { refused: { _tag: "None" }, state }
  if (state.isSuccessor && now - state.since < settling) {
    return { refused: { _tag: "Former" }, state: { ...state, isSuccessor: false } }
  }
  return { refused: { _tag: "Current", token: state.token.value }, state }
}
