/**
 * The marks in an entry that concern the refresh token it holds now. A mark of another token does not apply
 * to it.
 */
import * as Option from "effect/Option"
import * as Entry from "../Entry.js"

const ofItsGrant =
  ({ credentials }: Entry.Entry) =>
  ({ fingerprint }: { readonly fingerprint: Entry.Intent["fingerprint"] }): boolean =>
    fingerprint === Entry.grantFingerprint(credentials)

/** Returns the intent to spend the refresh token, if the outcome of the request is unknown. */
export const openIntent = (entry: Entry.Entry): Option.Option<Entry.Intent> =>
  Option.filter(entry.intent, ofItsGrant(entry))

/** Returns the mark that the grant has ended. */
export const deadMark = (entry: Entry.Entry): Option.Option<Entry.DeadGrant> =>
  Option.filter(entry.dead, ofItsGrant(entry))
