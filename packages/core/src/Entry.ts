/**
 * The stored record of one grant: the credentials, their place in the grant's history, the intent of a refresh under way,
 * the mark of a dead grant, and the wait that the server asked for; and its JSON form.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Problems from "./edition/Problems.js"
import * as Credentials from "./Credentials.js"
import * as Fingerprint from "./Fingerprint.js"
import * as GrantIdentity from "./GrantIdentity.js"
import { formatVersion, instantProblem, Json } from "./internal/EntrySchema.js"

export { formatVersion, instantProblem } from "./internal/EntrySchema.js"

/**
 * The intent to spend a refresh token, written ahead of the request: which token, when (epoch milliseconds), and which
 * attempt it is. An intent that is still there later means that the answer was lost. The intent of a replay replaces the
 * one before, unless that is known not to have been sent.
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
 * The mark of a grant that the authorization server refused with `invalid_grant`: its refresh token is not sent again.
 *
 * @since 0.1.0
 * @category models
 */
export class DeadGrant extends Data.Class<{
  readonly fingerprint: Fingerprint.Fingerprint
  readonly at: number
  /** The server's message, cut and escaped. */
  readonly reason: string
  /** Whether it was refused after the answer to an earlier refresh had been lost. */
  readonly rotationLost: boolean
}> {}

/**
 * The wait that the authorization server asked for (`Retry-After`, RFC 9110 §10.2.3; a back-off where it named no time):
 * since when, and until when no process that shares the storage sends anything for this grant. Epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export class ServerWait extends Data.Class<{ readonly at: number; readonly until: number }> {}

/**
 * One grant as it is stored.
 *
 * - `family`: the fingerprint of the grant's first refresh token. It stays the same through rotations and differs for
 *   another login.
 * - `generation`: how many times the credentials of this family were written, counted from 1; 0 where
 *   another program wrote them. It never falls within a family: a lower one comes from a restored backup.
 * - `fence`: the fencing number of the lease under which it was written, 0 for none.
 * - `identity`: the server and the client that the grant was obtained from; none where another program or an earlier
 *   version wrote it, or the refresher does not name them. The next refresh sets it.
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
 * The entry that replaces `previous` when a user saves credentials: the next generation of the same family, or the first of
 * a new one. It is written without a lease: a login does not wait for a refresh. Where `identity` is none, the same grant
 * keeps its own.
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
 * The entry after a refresh: the next generation, without intent, mark and wait.
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
 * A stored record that cannot be used: the path to the problem, and the problem in words; never a value of the record.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecordProblem extends Data.TaggedClass("RecordProblem")<{
  readonly reason: "Malformed" | "NewerFormat" | "WrongUnit"
  readonly path: string
  readonly problem: string
}> {}

const decodeJson = Schema.decodeUnknownEither(Json)
const encodeJson = Schema.encodeEither(Json)

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
 * The JSON value of an entry. It holds the tokens in clear text: pass it to storage only. It throws for an entry that
 * could not be read back; the message names the place and never quotes the value.
 *
 * @since 0.1.0
 * @category codec
 */
export const toJson = (entry: Entry): Record<string, unknown> => {
  const { credentials, ...rest } = entry
  const encoded = encodeJson({ latchkey: formatVersion, ...credentials, ...rest })
  return {
    ...Either.getOrThrowWith(encoded, (error) => {
      const { path, problem } = recordProblem(error, withTexts(credentials))
      return new TypeError(`This entry cannot be stored: ${path} ${problem}`)
    })
  }
}

/** Credentials with the text of each token, to describe what is wrong with it. */
const withTexts = (credentials: Credentials.Credentials): Record<string, unknown> => ({
  ...credentials,
  accessToken: Redacted.value(credentials.accessToken),
  refreshToken: Option.getOrUndefined(Option.map(credentials.refreshToken, Redacted.value)),
  idToken: Option.getOrUndefined(Option.map(credentials.idToken, Redacted.value))
})

const tokens: ReadonlySet<unknown> = new Set(["accessToken", "refreshToken", "idToken"])

/** Describes the problem with a token; for any other value, only its path. */
const recordProblem = (error: Problems.DecodeError, json: unknown): RecordProblem => {
  const issue = Problems.firstIssue(error)
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
    problem: issue.isMissing ? "is missing" : Option.getOrElse(token, () => "is not what is due here")
  })
}
