/**
 * The accounts of this machine as one read-only {@link TokenStorages}, for a page that shows them. Pure.
 *
 * @since 3.1.0
 */
import type * as Entry from "@latchkey/core/Entry"
import {
  StorageError,
  type StorageReason,
  type TokenStorage,
  type Version
} from "@latchkey/core/TokenStorage"
import { type Account, atRest, dueOf, type TokenStorages } from "@latchkey/core/TokenStorages"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/**
 * An account: its grant, or why there is none to show. `needsLogin`: only a login helps.
 *
 * @since 3.1.0
 * @category models
 */
export interface Known {
  readonly account: string
  readonly found: Either.Either<Entry.Entry, { readonly message: string; readonly needsLogin: boolean }>
}

const failing = (operation: StorageError["operation"], reason: typeof StorageReason.Type, message: string) =>
  new StorageError({ reason, operation, location: "this machine", message })

const readOnly = "The accounts can only be read here."

const storageOf = ({ found }: Known): Context.Tag.Service<TokenStorage> => ({
  location: "this machine",
  load: Either.match(found, {
    onLeft: ({ message }) => Effect.fail(failing("load", "Malformed", message)),
    onRight: (entry) => Effect.succeedSome({ entry, version: "1" as Version })
  }),
  commit: () => Effect.fail(failing("commit", "Denied", readOnly)),
  remove: Effect.fail(failing("remove", "Denied", readOnly)),
  changes: Option.none()
})

const listed = ({ account, found }: Known): Account => ({
  account,
  ...Either.match(found, {
    onLeft: ({ needsLogin }) => ({ state: needsLogin ? "Dead" : "Fixed", dueAt: Option.none() }) as const,
    onRight: atRest
  })
})

/**
 * Makes the index of these accounts. It never changes, and never writes.
 *
 * @since 3.1.0
 * @category constructors
 */
export const make = (all: ReadonlyArray<Known>): Context.Tag.Service<TokenStorages> => {
  const sorted = [...all].sort((a, b) => (a.account < b.account ? -1 : 1))
  return {
    location: "this machine",
    of: (account) => {
      const known = sorted.find((one) => one.account === account)
      return known === undefined
        ? Either.left(failing("load", "NoGrant", "There is no such account."))
        : Either.right(storageOf(known))
    },
    changes: Option.none(),
    due: (options) => Effect.succeed(dueOf(sorted.map(listed), options)),
    accounts: (after) =>
      Stream.fromIterable(sorted.filter(({ account }) => after === undefined || account > after).map(listed)),
    count: Effect.succeed(sorted.length)
  }
}
