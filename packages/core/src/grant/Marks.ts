/** The marks in an entry that concern the very refresh token that it holds. One of another token says nothing about it. */
import * as Option from "effect/Option"
import * as Entry from "../Entry.js"

const ofItsGrant =
  ({ credentials }: Entry.Entry) =>
  ({ fingerprint }: { readonly fingerprint: Entry.Intent["fingerprint"] }): boolean =>
    fingerprint === Entry.grantFingerprint(credentials)

/** The intent to spend the refresh token, where the outcome of the request is unknown. */
export const openIntent = (entry: Entry.Entry): Option.Option<Entry.Intent> =>
  Option.filter(entry.intent, ofItsGrant(entry))

/** The end of the grant. */
export const deadMark = (entry: Entry.Entry): Option.Option<Entry.DeadGrant> =>
  Option.filter(entry.dead, ofItsGrant(entry))
