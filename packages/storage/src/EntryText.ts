/**
 * Converts an entry to the bytes of one JSON text and back, for a storage of your own.
 *
 * Reading is strict. A text is refused with a reason if it is torn, holds a key twice, is not UTF-8, is too
 * deep or too large, or has an invalid token or instant. No value from it is ever quoted. Writing keeps the
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
 * A text that was read: the entry, and the whole document with unknown fields.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  readonly entry: Entry.Entry
  readonly document: { readonly [key: string]: unknown }
}

/**
 * The place and the operation, for error messages, and the time: epoch milliseconds.
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
 * Decodes an entry from these bytes. Bytes longer than {@link maxBytes} are refused unread.
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
 * Encodes an entry over the stored document, whose unknown fields stay. No two results are ever equal, so
 * their digest can serve as the version.
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
 * The longest text that is read or written, in bytes.
 *
 * @since 0.1.0
 * @category codec
 */
export const maxBytes: number = RecordText.maxBytes
