/** The keys of our own record at the top level of a document. */
import type { JsonObject } from "./StrictJson.js"

/** Those that say more of the grant than its credentials do. */
export const journalKeys = ["family", "generation", "fence", "intent", "dead", "serverWait", "identity"]

export const recordKeys: ReadonlySet<string> = new Set([
  ...["latchkey", "revision", "accessToken", "refreshToken", "idToken", "tokenType"],
  ...["obtainedAt", "serverTime", "expiresAt", "refreshAt", "scopes", "accountId", "extras"],
  ...journalKeys
])

/**
 * What the version of a record ends in: a mark where it has fields that are not ours. It must be read then before another
 * takes its place, which is to keep them.
 */
export const markOf = (document: JsonObject): string =>
  Object.keys(document).every((key) => recordKeys.has(key)) ? "" : mark

export const mark = "+"
