/**
 * An account as it is after a command has changed it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Failure from "../Failure.js"
import * as Format from "../Format.js"
import * as Report from "../Report.js"
import type { Session } from "../Session.js"

/**
 * What storage now holds of an account.
 *
 * @since 0.1.0
 * @category operations
 */
export const rowOf = ({
  about,
  account,
  place,
  storage
}: Session): Effect.Effect<Report.Row, Failure.Failure> =>
  Effect.gen(function* () {
    const found = yield* Effect.mapError(storage.load, (error) => Failure.fromToken(error, about))
    const entry = Option.map(found, (f) => f.entry)
    return Report.row(account, place, entry, yield* Clock.currentTimeMillis)
  })

/**
 * An account in a sentence.
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
  const kept = row.encryption === "none" ? "in clear, for this user alone" : "encrypted"
  return `${whose}; ${expiry}; kept in ${row.storage}${row.encryption === null ? "" : `, ${kept}`}.`
}
