/** A problem with a database or a server, before it is known which operation of which port it belongs to. */
import { LeaseError } from "@latchkey/core/RefreshLease"
import { StorageError } from "@latchkey/core/TokenStorage"
import * as Data from "effect/Data"

export class ServerProblem extends Data.TaggedError("ServerProblem")<{
  readonly reason: StorageError["reason"]
  readonly message: string
  /** Only the code. A client's message may quote its input. */
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
