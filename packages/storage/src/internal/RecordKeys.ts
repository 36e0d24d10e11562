/** The keys of our own record at the top level of a document. */
import type { JsonObject } from "./StrictJson.js"

/** Those that say more of the grant than its credentials do. */
export const journalKeys = ["family", "generation", "fence", "intent", "dead", "serverWait", "identity"]

export const recordKeys: ReadonlySet<string> = new Set([
  ...["latchkey", "revision", "accessToken", "refreshToken", "idToken", "tokenType"],
  ...["obtainedAt", "serverTime", "expiresAt", "refreshAt", "scopes", "accountId", "extras"],
  ...journalKeys
])

/** Whether a document holds nothing but our record. */
export const isOurs = (document: JsonObject): boolean =>
  Object.keys(document).every((key) => recordKeys.has(key))
