/**
 * The stored record of one grant, and its JSON form: the credentials, their place in the grant's history, the
 * intent of a refresh that is running, the mark of a dead grant, and the wait that the server asked for.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Problems from "./edition/Problems.js"
import * as Credentials from "./Credentials.js"
import * as Fingerprint from "./Fingerprint.js"
import * as GrantIdentity from "./GrantIdentity.js"
import { formatVersion, instantProblem, Json } from "./internal/EntrySchema.js"

export { formatVersion, instantProblem } from "./internal/EntrySchema.js"

/**
 * The intent to spend a refresh token, written before the request: which token, when (epoch milliseconds),
 * and the number of the attempt. An intent that is still stored later means that the response was lost. The
 * intent of a replay replaces the previous one, unless the previous request is known not to have been sent.
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
 * The mark of a grant that the authorization server refused with `invalid_grant`. Its refresh token is not
 * sent again.
 *
 * @since 0.1.0
 * @category models
 */
export class DeadGrant extends Data.Class<{
  readonly fingerprint: Fingerprint.Fingerprint
  readonly at: number
  /** The server's message, truncated and escaped. */
  readonly reason: string
  /** Whether the server refused it after the response to an earlier refresh was lost. */
  readonly rotationLost: boolean
}> {}

/**
 * The wait that the authorization server asked for (`Retry-After`, RFC 9110 §10.2.3), or a back-off if it
 * named no time. From `at` until `until` (epoch milliseconds), no process that shares the storage sends
 * anything for this grant.
 *
 * @since 0.1.0
 * @category models
 */
export class ServerWait extends Data.Class<{ readonly at: number; readonly until: number }> {}

/**
 * One grant as it is stored.
 *
 * - `family`: the fingerprint of the grant's first refresh token. Rotations keep it. Another login changes
 *   it.
 * - `generation`: how many times the credentials of this family were written, counted from 1. It is 0 if
 *   another program wrote them. It never falls within a family: a lower one comes from a restored backup.
 * - `fence`: the fencing number of the lease under which it was written, 0 for none.
 * - `identity`: the server and the client that the grant was obtained from. None if another program or an
 *   earlier version wrote it, or if the refresher does not name them. The next refresh sets it.
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
 * Returns the fingerprint of the token that stands for the grant: the refresh token, or else the access
 * token.
 *
 * @since 0.1.0
 * @category getters
 */
export const grantFingerprint = (credentials: Credentials.Credentials): Fingerprint.Fingerprint =>
  Fingerprint.of(grantToken(credentials))

/**
 * Creates the entry of a grant that was not stored before: from a login, or from a file that another program
 * wrote (`generation` 0).
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
 * Creates the entry that replaces `previous` when a user saves credentials: the next generation of the same
 * family, or the first of a new one. It is written without a lease, because a login does not wait for a
 * refresh. If `identity` is none, the same grant keeps its own.
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
 * Returns the entry with this identity, or with its own if `identity` is none.
 *
 * @since 0.1.0
 * @category combinators
 */
export const bind = (entry: Entry, identity: Option.Option<GrantIdentity.GrantIdentity>): Entry =>
  Option.isNone(identity) || Option.contains(entry.identity, identity.value)
    ? entry
    : new Entry({ ...entry, identity })

/**
 * Creates the entry after a refresh: the next generation, without intent, mark or wait.
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
 * Returns the entry with the higher of its own fence and `highest`, the highest that storage has held. A
 * fence never falls, even through a write without a lease.
 *
 * @since 0.1.0
 * @category combinators
 */
export const keepFence = (entry: Entry, highest: number): Entry =>
  entry.fence >= highest ? entry : new Entry({ ...entry, fence: highest })

/**
 * Whether an entry may be written if `highest` is the highest fence written or granted so far.
 *
 * @since 0.1.0
 * @category predicates
 */
export const passesFence = (entry: Entry, highest: number): boolean =>
  entry.fence === 0 || entry.fence >= highest

/**
 * Whether `loaded` is an earlier state of `newest`: the same family, another refresh token, a lower
 * generation. Its refresh token is spent, and redeeming it would revoke the grant.
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
 * A stored record that cannot be used: the path to the problem, and the problem in words. It never holds a
 * value of the record.
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
const encodeJson = Schema.encodeSync(Json)

/**
 * Decodes an entry from its JSON value. Problems name the place and never quote the value.
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
        problem: `has format ${format}, and this version reads formats up to ${formatVersion}: upgrade @latchkey`
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
 * Encodes an entry as a JSON value. It holds the tokens in clear text: pass it to storage only.
 *
 * @since 0.1.0
 * @category codec
 */
export const toJson = (entry: Entry): Record<string, unknown> => {
  const { credentials, ...rest } = entry
  return { ...encodeJson({ latchkey: formatVersion, ...credentials, ...rest }) }
}

const tokens: ReadonlySet<unknown> = new Set(["accessToken", "refreshToken", "idToken"])

/** Describes a problem with a token. For any other value it gives only the path. */
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
    problem: issue.isMissing ? "is missing" : Option.getOrElse(token, () => "is not valid here")
  })
}
