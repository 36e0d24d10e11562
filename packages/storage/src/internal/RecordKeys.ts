/** The keys of our own record at the top level of a document. */
import type { JsonObject } from "./StrictJson.js"

/** The keys that describe the grant beyond its credentials. */
export const journalKeys = ["family", "generation", "fence", "intent", "dead", "serverWait", "identity"]

export const recordKeys: ReadonlySet<string> = new Set([
  ...["latchkey", "revision", "accessToken", "refreshToken", "idToken", "tokenType"],
  ...["obtainedAt", "serverTime", "expiresAt", "refreshAt", "scopes", "accountId", "extras"],
  ...journalKeys
])

/**
 * Returns the end of a record's version: a mark if the record has fields that are not ours. Such a record must
 * be read before it is replaced, because the new record keeps those fields.
 */
export const markOf = (document: JsonObject): string =>
  Object.keys(document).every((key) => recordKeys.has(key)) ? "" : mark

export const mark = "+"
