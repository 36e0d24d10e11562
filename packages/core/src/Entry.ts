/**
 * What storage keeps for one grant: the credentials, where they stand in the grant's history, the journal
 * of a refresh under way, the mark of a dead grant, and the wait that the server asked for. And the JSON form of it all.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Credentials from "./Credentials.js"
import * as Fingerprint from "./Fingerprint.js"
import * as GrantIdentity from "./GrantIdentity.js"

/**
 * The write-ahead note of a refresh: which refresh token is about to be spent, when (epoch milliseconds),
 * and for which time. One that is still there later means that its answer was lost. One that is repeated
 * takes the place of the one before, unless it is known not to have been sent.
 *
 * @since 0.1.0
 * @category models
 */
export class Intent extends Data.Class<{
  readonly fingerprint: Fingerprint.Fingerprint
  readonly at: number
  readonly attempt: number
}> {}

/**
 * The mark of a grant that the authorization server refused with `invalid_grant`: it is not posted again
 * until storage holds another.
 *
 * @since 0.1.0
 * @category models
 */
export class DeadGrant extends Data.Class<{
  readonly fingerprint: Fingerprint.Fingerprint
  readonly at: number
  /** What the server said, cut and escaped. */
  readonly reason: string
  /** Whether it was refused after the answer to an earlier refresh had been lost. */
  readonly rotationLost: boolean
}> {}

/**
 * The wait that the authorization server asked for (`Retry-After`, RFC 9110 §10.2.3; `Decision.backOff` where it named no
 * time): when it did, and until when nothing is posted for this grant, by whoever shares its storage. Epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export class ServerWait extends Data.Class<{ readonly at: number; readonly until: number }> {}

/**
 * One grant as it is stored.
 *
 * - `family`: the fingerprint of the grant's first refresh token; it stays the same through rotations, so
 *   that one grant's history can be told from another login.
 * - `generation`: how many times the credentials of this family were written, counted from 1; 0 where
 *   another program wrote them. It never falls within a family: one that does is a restored backup.
 * - `fence`: the fencing number of the lease under which it was written, 0 for none.
 * - `identity`: the server and the client that the grant was obtained from; none where it was written by
 *   another program, by an earlier version, or with a refresher that does not say. It is set by the next refresh.
 *
 * @since 0.1.0
 * @category models
 */
export class Entry extends Data.Class<{
  readonly credentials: Credentials.Credentials
  readonly family: string
  readonly generation: number
  readonly fence: number
  readonly intent: Option.Option<Intent>
  readonly dead: Option.Option<DeadGrant>
  readonly serverWait: Option.Option<ServerWait>
  readonly identity: Option.Option<GrantIdentity.GrantIdentity>
}> {}

const grantToken = (credentials: Credentials.Credentials): Redacted.Redacted =>
  Option.getOrElse(credentials.refreshToken, () => credentials.accessToken)

/**
 * The fingerprint of the token that stands for the grant: the refresh token, or else the access token.
 *
 * @since 0.1.0
 * @category getters
 */
export const grantFingerprint = (credentials: Credentials.Credentials): Fingerprint.Fingerprint =>
  Fingerprint.of(grantToken(credentials))

/**
 * The entry of a grant that was not stored before: a login, or a file written by another program
 * (`generation` 0).
 *
 * @since 0.1.0
 * @category constructors
 */
export const first = (credentials: Credentials.Credentials, generation = 1): Entry =>
  new Entry({
    credentials,
    family: grantFingerprint(credentials),
    generation,
    fence: 0,
    intent: Option.none(),
    dead: Option.none(),
    serverWait: Option.none(),
    identity: Option.none()
  })

/**
 * The entry that replaces `previous` when a user saves credentials: the next generation where they are of
 * the same family, else the first of a new one. It is written without a lease: a login does not wait for a refresh.
 * Where `identity` is none, the same grant keeps the one it has.
 *
 * @since 0.1.0
 * @category combinators
 */
export const saved = (
  previous: Option.Option<Entry>,
  credentials: Credentials.Credentials,
  identity: Option.Option<GrantIdentity.GrantIdentity> = Option.none()
): Entry => {
  const fresh = bind(first(credentials), identity)
  return Option.match(previous, {
    onNone: () => fresh,
    onSome: (p) => {
      const sameFamily = p.family === fresh.family || Credentials.sameRefreshToken(p.credentials, credentials)
      if (!sameFamily) return fresh
      return new Entry({
        ...fresh,
        family: p.family,
        generation: p.generation + 1,
        identity: Option.orElse(identity, () => p.identity)
      })
    }
  })
}

/**
 * The entry with this identity, or with its own where `identity` is none.
 *
 * @since 0.1.0
 * @category combinators
 */
export const bind = (entry: Entry, identity: Option.Option<GrantIdentity.GrantIdentity>): Entry =>
  Option.isNone(identity) || Option.contains(entry.identity, identity.value)
    ? entry
    : new Entry({ ...entry, identity })

/**
 * In what the stored grant differs from what a client with `current` may use, if in anything; see
 * `GrantIdentity.compare`.
 *
 * @since 0.1.0
 * @category comparisons
 */
export const mismatch = (
  entry: Entry,
  current: GrantIdentity.GrantIdentity,
  formerly: ReadonlyArray<string> = []
): Option.Option<GrantIdentity.Mismatch> =>
  GrantIdentity.compare(
    { identity: entry.identity, hasRefreshToken: Option.isSome(entry.credentials.refreshToken) },
    current,
    formerly
  )

/**
 * In what the stored grant differs from a login that would replace it: another identity, or another account; none
 * where that is not known.
 *
 * @since 0.1.0
 * @category comparisons
 */
export const mismatchOfLogin = (
  stored: Entry,
  login: Credentials.Credentials,
  identity: Option.Option<GrantIdentity.GrantIdentity>,
  formerly: ReadonlyArray<string> = []
): Option.Option<GrantIdentity.Mismatch> =>
  Option.orElse(
    Option.flatMap(identity, (current) => mismatch(stored, current, formerly)),
    () => GrantIdentity.compareAccounts(stored.credentials.accountId, login.accountId)
  )

/**
 * The entry after a refresh: the next generation; the journal, the mark and the wait cleared.
 *
 * @since 0.1.0
 * @category combinators
 */
export const refreshed = (previous: Entry, credentials: Credentials.Credentials): Entry =>
  new Entry({
    ...previous,
    credentials,
    generation: previous.generation + 1,
    intent: Option.none(),
    dead: Option.none(),
    serverWait: Option.none()
  })

/**
 * The intent to spend the very refresh token that the entry holds, where the outcome of the request is unknown.
 *
 * @since 0.1.0
 * @category getters
 */
export const openIntent = (entry: Entry): Option.Option<Intent> =>
  Option.filter(entry.intent, (i) => i.fingerprint === grantFingerprint(entry.credentials))

/**
 * The entry with the higher of its own fence and `highest`, the highest that storage has held: a fence never falls, even
 * through a write without a lease.
 *
 * @since 0.1.0
 * @category combinators
 */
export const keepFence = (entry: Entry, highest: number): Entry =>
  entry.fence >= highest ? entry : new Entry({ ...entry, fence: highest })

/**
 * Whether an entry may be written where `highest` is the highest fence written or granted so far.
 *
 * @since 0.1.0
 * @category predicates
 */
export const passesFence = (entry: Entry, highest: number): boolean =>
  entry.fence === 0 || entry.fence >= highest

/**
 * Whether `loaded` is an earlier state of `newest`: the same family, another refresh token, a lower generation. Its
 * refresh token is spent: to redeem it would revoke the grant.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRolledBack = (loaded: Entry, newest: Entry): boolean =>
  loaded.family === newest.family &&
  loaded.generation < newest.generation &&
  loaded.generation > 0 &&
  !Credentials.sameRefreshToken(loaded.credentials, newest.credentials)

/**
 * The newest format that this version reads and the one that it writes.
 *
 * @since 0.1.0
 * @category codec
 */
export const formatVersion = 1

const Millis = Schema.Number.pipe(Schema.finite(), Schema.nonNegative())
const Token = Schema.Redacted(
  Schema.String.pipe(Schema.filter((value) => Option.getOrUndefined(Credentials.tokenProblem(value))))
)

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { as: "Option" })

const Json = Schema.Struct({
  latchkey: Schema.Literal(formatVersion),
  accessToken: Token,
  refreshToken: optional(Token),
  idToken: optional(Token),
  tokenType: Schema.String.pipe(
    Schema.filter((value) => Option.getOrUndefined(Credentials.tokenTypeNameProblem(value)))
  ),
  obtainedAt: optional(Millis),
  serverTime: optional(Millis),
  expiresAt: optional(Millis),
  refreshAt: optional(Millis),
  scopes: Schema.Array(Schema.String),
  accountId: optional(Schema.NonEmptyString),
  // Not `Schema.Record`, whose copy takes a `__proto__` among the keys for the prototype.
  extras: Schema.optionalWith(Schema.Redacted(Schema.declare(Predicate.isReadonlyRecord)), {
    default: () => Redacted.make<Credentials.Extras>({})
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

/**
 * What is wrong with a stored record: where in it, and in words; never a value from it.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecordProblem extends Data.TaggedClass("RecordProblem")<{
  readonly reason: "Malformed" | "NewerFormat" | "WrongUnit"
  readonly path: string
  readonly problem: string
}> {}

/** Instants are wrong by a unit below this (seconds) and above that (microseconds): 1973 and 5138. */
const earliestMillis = 100_000_000_000
const latestMillis = 100_000_000_000_000

/**
 * What is wrong with an instant of epoch milliseconds that was read from elsewhere, or none. `now` tells
 * whether the clock itself is near the epoch, as in tests: then small instants are right.
 *
 * @since 0.1.0
 * @category validation
 */
export const instantProblem = (millis: number, now: number): Option.Option<string> =>
  !Number.isFinite(millis) || millis > latestMillis
    ? Option.some("is beyond the year 5138, as microseconds where milliseconds are due would be")
    : millis < earliestMillis && now >= earliestMillis
      ? Option.some("is before 1974, as seconds where milliseconds are due would be")
      : Option.none()

const decodeJson = Schema.decodeUnknownEither(Json)
const encodeJson = Schema.encodeSync(Json)

/**
 * An entry from its JSON value. Problems name the place and never quote the value.
 *
 * @since 0.1.0
 * @category codec
 */
export const fromJson = (json: unknown, now: number): Either.Either<Entry, RecordProblem> => {
  const format = typeof json === "object" && json !== null && "latchkey" in json ? json.latchkey : undefined
  if (typeof format === "number" && format > formatVersion) {
    return Either.left(
      new RecordProblem({
        reason: "NewerFormat",
        path: "latchkey",
        problem: `is format ${format}, this version reads up to ${formatVersion}: upgrade @latchkey`
      })
    )
  }
  const decoded = Either.mapLeft(decodeJson(json), (error) => recordProblem(error, json))
  return Either.flatMap(
    decoded,
    ({ latchkey: _, family, generation, fence, intent, dead, serverWait, identity, ...fields }) => {
      const wrongUnit = Option.flatMap(fields.expiresAt, (millis) => instantProblem(millis, now))
      return Option.isSome(wrongUnit)
        ? Either.left(new RecordProblem({ reason: "WrongUnit", path: "expiresAt", problem: wrongUnit.value }))
        : Either.right(
            new Entry({
              credentials: new Credentials.Credentials(Credentials.share(fields)),
              family,
              generation,
              fence,
              intent: Option.map(
                intent,
                (i) => new Intent({ ...i, fingerprint: i.fingerprint as Fingerprint.Fingerprint })
              ),
              dead: Option.map(
                dead,
                (d) => new DeadGrant({ ...d, fingerprint: d.fingerprint as Fingerprint.Fingerprint })
              ),
              serverWait: Option.map(serverWait, (w) => new ServerWait(w)),
              identity: Option.map(identity, (i) => GrantIdentity.share(new GrantIdentity.GrantIdentity(i)))
            })
          )
    }
  )
}

/**
 * The JSON value of an entry. It holds the tokens in clear: for storage alone.
 *
 * @since 0.1.0
 * @category codec
 */
export const toJson = (entry: Entry): Record<string, unknown> => {
  const { credentials, ...rest } = entry
  return { ...encodeJson({ latchkey: formatVersion, ...credentials, ...rest }) }
}

const tokens: ReadonlySet<unknown> = new Set(["accessToken", "refreshToken", "idToken"])

/** Of a token it is told what is wrong with it; of anything else, only where it stands. */
const recordProblem = (error: ParseResult.ParseError, json: unknown): RecordProblem => {
  const issue = ParseResult.ArrayFormatter.formatErrorSync(error)[0]!
  const path = issue.path.map(String).join(".")
  const value: unknown = Reflect.get(Object(json), path)
  const token = tokens.has(path)
    ? Credentials.tokenProblem(value)
    : path === "tokenType" && value !== ""
      ? Credentials.tokenTypeNameProblem(value)
      : Option.none()
  return new RecordProblem({
    reason: "Malformed",
    path: path === "" ? "(the record)" : path,
    problem:
      issue._tag === "Missing" ? "is missing" : Option.getOrElse(token, () => "is not what is due here")
  })
}
