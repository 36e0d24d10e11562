/** What went wrong with a database or a server, before it is known for which operation of which port. */
import { LeaseError } from "@latchkey/core/RefreshLease"
import { StorageError } from "@latchkey/core/TokenStorage"
import * as Data from "effect/Data"

export class ServerProblem extends Data.TaggedError("ServerProblem")<{
  readonly reason: StorageError["reason"]
  readonly message: string
  /** The code alone: what a client says beside it may quote what it was given. */
  readonly cause?: { readonly code: string } | undefined
}> {}

const causeOf = ({ cause }: ServerProblem) => (cause === undefined ? {} : { cause })

export const toStorageError =
  (operation: StorageError["operation"], location: string) =>
  (problem: ServerProblem): StorageError =>
    new StorageError({
      reason: problem.reason,
      operation,
      location,
      message: problem.message,
      ...causeOf(problem)
    })

export const toLeaseError =
  (account: string) =>
  (problem: ServerProblem): LeaseError =>
    new LeaseError({ reason: "Unavailable", account, message: problem.message, ...causeOf(problem) })
