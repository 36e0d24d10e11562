/**
 * An entry as the bytes of one JSON text, and back, for a storage of your own.
 *
 * Reading is strict: a text that is torn, holds a key twice, is not UTF-8, is too deep or too large, or has a token or
 * an instant that cannot be right is refused with a reason, and no value from it is ever quoted. Writing keeps the
 * fields that this version does not know, and refuses an entry that would not read back.
 *
 * @since 0.1.0
 */
import type * as Entry from "@latchkey/core/Entry"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as RecordText from "./internal/RecordText.js"
import { toStorageError } from "./internal/ServerProblem.js"

/**
 * A text that was read: the entry, and the whole document with the fields that are not known here.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  readonly entry: Entry.Entry
  readonly document: { readonly [key: string]: unknown }
}

/**
 * Which storage reads or writes, for its errors, and when: epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  readonly location: string
  readonly operation: StorageError["operation"]
  readonly now: number
}

/**
 * The entry in these bytes. Bytes longer than {@link maxBytes} are refused unread.
 *
 * @since 0.1.0
 * @category codec
 */
export const decode = (
  bytes: Uint8Array,
  { location, now, operation }: Context
): Either.Either<Stored, StorageError> =>
  Either.mapLeft(
    bytes.length > maxBytes
      ? Either.left(RecordText.tooLarge(location))
      : RecordText.decode(bytes, location, now),
    toStorageError(operation, location)
  )

/**
 * The bytes of an entry, over what was stored before: its unknown fields stay. No two are ever alike, so that their
 * digest can serve as the version.
 *
 * @since 0.1.0
 * @category codec
 */
export const encode = (
  entry: Entry.Entry,
  over: Option.Option<Stored>,
  { location, now, operation }: Context
): Either.Either<Uint8Array, StorageError> =>
  Either.mapBoth(
    RecordText.encode(
      Option.match(over, { onNone: () => ({}), onSome: ({ document }) => document }),
      entry,
      location,
      now
    ),
    { onLeft: toStorageError(operation, location), onRight: (text) => new TextEncoder().encode(text) }
  )

/**
 * The longest text that is read or written.
 *
 * @since 0.1.0
 * @category codec
 */
export const maxBytes: number = RecordText.maxBytes
