/** An account as a database's index holds it. */
import type { Account } from "@latchkey/core/TokenStorages"
import * as Option from "effect/Option"

/**
 * `due` is null or empty if there is nothing to renew. A state that this version does not know is `Fixed`.
 */
export const accountOf = (account: string, state: unknown, due: unknown): Account => ({
  account,
  state: state === "Dead" || state === "Renewable" ? state : "Fixed",
  dueAt: due === null || due === "" ? Option.none() : Option.some(Number(due))
})
