/** The JSON form of an entry. */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { type Extras, tokenProblem, tokenTypeNameProblem } from "./ResponseFields.js"

/**
 * The format that this version writes, and the newest that it reads.
 *
 * @since 0.1.0
 * @category codec
 */
export const formatVersion = 1

const Millis = Schema.Number.pipe(Schema.filter((millis) => Number.isFinite(millis) && millis >= 0))
const Token = Schema.Redacted(
  Schema.String.pipe(Schema.filter((value) => Option.getOrUndefined(tokenProblem(value))))
)

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { as: "Option" })

export const Json = Schema.Struct({
  latchkey: Schema.Literal(formatVersion),
  accessToken: Token,
  refreshToken: optional(Token),
  idToken: optional(Token),
  tokenType: Schema.String.pipe(Schema.filter((value) => Option.getOrUndefined(tokenTypeNameProblem(value)))),
  obtainedAt: optional(Millis),
  serverTime: optional(Millis),
  expiresAt: optional(Millis),
  refreshAt: optional(Millis),
  scopes: Schema.Array(Schema.String),
  accountId: optional(Schema.NonEmptyString),
  // Not `Schema.Record`, whose copy would take a key `__proto__` as the prototype.
  extras: Schema.optionalWith(Schema.Redacted(Schema.declare(Predicate.isReadonlyRecord)), {
    default: () => Redacted.make<Extras>({})
  }),
  family: Schema.NonEmptyString,
  generation: Schema.NonNegativeInt,
  fence: Schema.optionalWith(Schema.NonNegativeInt, { default: () => 0 }),
  intent: optional(
    Schema.Struct({ fingerprint: Schema.NonEmptyString, at: Millis, attempt: Schema.NonNegativeInt })
  ),
  dead: optional(
    Schema.Struct({
      fingerprint: Schema.NonEmptyString,
      at: Millis,
      reason: Schema.String,
      rotationLost: Schema.Boolean
    })
  ),
  serverWait: optional(Schema.Struct({ at: Millis, until: Millis })),
  identity: optional(
    Schema.Struct({
      issuer: optional(Schema.NonEmptyString),
      tokenEndpoint: optional(Schema.NonEmptyString),
      clientId: optional(Schema.NonEmptyString),
      grantType: Schema.NonEmptyString,
      subject: optional(Schema.NonEmptyString)
    })
  )
})

/** Instants before 1973 are probably seconds, and instants after 5138 microseconds. */
const earliestMillis = 100_000_000_000
const latestMillis = 100_000_000_000_000

/**
 * Returns the problem with an instant of epoch milliseconds that another program wrote, if there is one. If
 * `now` itself is near the epoch, as in tests, small instants are right.
 *
 * @since 0.1.0
 * @category validation
 */
export const instantProblem = (millis: number, now: number): Option.Option<string> =>
  !Number.isFinite(millis) || millis > latestMillis
    ? Option.some("is after the year 5138: it may be in microseconds, not milliseconds")
    : millis < earliestMillis && now >= earliestMillis
      ? Option.some("is before 1974: it may be in seconds, not milliseconds")
      : Option.none()
