/**
 * A link that logs in again as the same identity, for a grant that is dead: to send to its user, or to show
 * where the account needs one.
 *
 * The link is sealed with AES-256-GCM: nobody without the keys can make or change one, and it shows no account.
 * It gives no access. It only decides which account the login is for and who must log in: the user still logs in
 * at the authorization server, and another identity is refused. So it is no harm if the link is forwarded, or
 * opened by a scanner of mails.
 *
 * One login can succeed with it. The link is for the grant that is stored when it is made, and is refused as
 * soon as another grant is stored, by this login or otherwise. A link for a grant that is alive is therefore
 * over at the next rotation. Logins that two browsers finish at the same instant may both succeed.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Sealing from "./internal/sealing.js"
import { LoginError } from "./LoginError.js"
import { LoginKeys } from "./LoginKeys.js"
import * as ReturnAddress from "./ReturnAddress.js"

/**
 * What a link says.
 *
 * @since 0.1.0
 * @category models
 */
export class ReloginLink extends Data.Class<{
  /** The account whose grant the login replaces. */
  readonly account: string
  /** The account at the server that must log in: `Credentials.accountId`. */
  readonly expectedAccount: string
  /** The fingerprint of the grant that the login replaces. */
  readonly replaces: string
  /** What to send as `login_hint`. Servers differ: an email address, or the subject. */
  readonly loginHint: string
  readonly returnTo: Option.Option<string>
  /** Epoch milliseconds. */
  readonly expiresAt: number
}> {}

const Json = Schema.Struct({
  format: Schema.Literal(1),
  account: Schema.String,
  expectedAccount: Schema.String,
  replaces: Schema.String,
  loginHint: Schema.String,
  returnTo: Schema.NullOr(Schema.String),
  expiresAt: Schema.Number
})

const decodeJson = Schema.decodeUnknownEither(Json, { onExcessProperty: "error" })

/**
 * Seals a link with the first key in context. The text is fit for a query.
 *
 * @since 0.1.0
 * @category conversions
 */
export const seal = (link: ReloginLink): Effect.Effect<string, never, LoginKeys> =>
  Effect.flatMap(LoginKeys, (keys) => {
    const json: typeof Json.Type = { format: 1, ...link, returnTo: Option.getOrNull(link.returnTo) }
    return Sealing.seal(keys, "link", Redacted.make(JSON.stringify(json)))
  })

/**
 * Opens a link. Fails with `Malformed` if no key in context sealed it, or it was changed, and with `TimedOut` if
 * it has expired.
 *
 * @since 0.1.0
 * @category conversions
 */
export const open = (sealed: string): Effect.Effect<ReloginLink, LoginError, LoginKeys> =>
  Effect.gen(function* () {
    const text = yield* Effect.mapError(Sealing.open(yield* LoginKeys, "link", sealed), () => notALink)
    const link = yield* read(Redacted.value(text))
    return (yield* Clock.currentTimeMillis) < link.expiresAt ? link : yield* expired
  })

const read = (text: string): Either.Either<ReloginLink, LoginError> =>
  Either.try({ try: (): unknown => JSON.parse(text), catch: () => notALink }).pipe(
    Either.flatMap((json) => Either.mapLeft(decodeJson(json), () => notALink)),
    Either.filterOrLeft(
      ({ account, expectedAccount, expiresAt, replaces, returnTo }) =>
        account !== "" &&
        expectedAccount !== "" &&
        replaces !== "" &&
        Number.isSafeInteger(expiresAt) &&
        (returnTo === null || Option.contains(ReturnAddress.parse(returnTo), returnTo)),
      () => notALink
    ),
    Either.map(
      ({ account, expectedAccount, expiresAt, loginHint, replaces, returnTo }) =>
        new ReloginLink({
          account,
          expectedAccount,
          replaces,
          loginHint,
          returnTo: Option.fromNullable(returnTo),
          expiresAt
        })
    )
  )

const notALink = new LoginError({
  reason: "Malformed",
  message: "This is not a link of this site, or a part of it is missing: copy the complete link."
})

const expired = new LoginError({
  reason: "TimedOut",
  message: "This link has expired: ask for a new one."
})
