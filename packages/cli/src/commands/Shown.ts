/**
 * An account after a command has changed it.
 *
 * @since 0.1.0
 */
import type { Entry } from "@latchkey/core/Entry"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Failure from "../Failure.js"
import * as Format from "../Format.js"
import * as Report from "../Report.js"
import * as Session from "../Session.js"
import type { Workspace } from "../Workspace.js"

/**
 * Returns the row for what storage now holds of an account.
 *
 * @since 0.1.0
 * @category operations
 */
export const rowOf = (session: Session.Session): Effect.Effect<Report.Row, Failure.Failure, Workspace> =>
  Effect.gen(function* () {
    return yield* rowWith(session, yield* read(session))
  })

/**
 * Reads an account's grant.
 *
 * @since 3.1.0
 * @category operations
 */
export const read = ({
  about,
  storage
}: Session.Session): Effect.Effect<Option.Option<Entry>, Failure.Failure> =>
  Effect.mapBoth(storage.load, {
    onFailure: (error) => Failure.fromToken(error, about),
    onSuccess: Option.map(({ entry }) => entry)
  })

/**
 * Returns the row for an entry that was already read.
 *
 * @since 0.1.0
 * @category operations
 */
export const rowWith = (
  session: Session.Session,
  entry: Option.Option<Entry>
): Effect.Effect<Report.Row, never, Workspace> =>
  Effect.gen(function* () {
    const { account, place } = session
    const mismatch = Option.isSome(entry) ? yield* Session.mismatch(session, entry.value) : Option.none()
    return Report.row(account, place, entry, yield* Clock.currentTimeMillis, mismatch)
  })

/**
 * Describes an account in a sentence.
 *
 * @since 0.1.0
 * @category rendering
 */
export const sentence = (row: Report.Row): string => {
  const whose = row.accountId === null ? row.id : `${row.id} is ${row.accountId}`
  const expiry =
    row.expiresInSeconds === null
      ? "its token has no known expiry"
      : `its token expires in ${Format.span(row.expiresInSeconds * 1000)}`
  const kept = row.encryption === "none" ? "without encryption, for this user only" : "encrypted"
  return `${whose}; ${expiry}; kept in ${row.storage}${row.encryption === null ? "" : `, ${kept}`}.`
}
