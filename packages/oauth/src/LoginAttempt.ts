/**
 * A login in progress as plain data, so that another instance of a web application can finish it. Pure.
 *
 * @since 0.1.0
 */
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as oauth from "oauth4webapi"
import { unreadable } from "./internal/loginProblem.js"
import { LoginError } from "./LoginError.js"
import * as ReturnAddress from "./ReturnAddress.js"

/**
 * The authorization server and the client of a login. The code is sent to no other server and by no other
 * client.
 *
 * @since 0.1.0
 * @category models
 */
export interface Party {
  readonly issuer: Option.Option<string>
  readonly tokenEndpoint: Option.Option<string>
  readonly clientId: string
}

/**
 * A login in progress. Anyone with its secrets can finish it: keep it with `AttemptStore`.
 *
 * @since 0.1.0
 * @category models
 */
export class LoginAttempt extends Data.Class<
  Party & {
    readonly state: Redacted.Redacted
    /** Present if the login asks for an ID token. */
    readonly nonce: Option.Option<Redacted.Redacted>
    /** The secret of PKCE (RFC 7636 §4.1). */
    readonly verifier: Redacted.Redacted
    /** The key that the code is bound to (RFC 9449 §10.1), if the request was pushed with one. */
    readonly dpopKey: Option.Option<Redacted.Redacted<oauth.JWK>>
    readonly redirectUri: string
    readonly scopes: ReadonlyArray<string>
    readonly resources: ReadonlyArray<string>
    /** The `max_age` that was sent. */
    readonly maxAge: Option.Option<string>
    /** Where the browser goes afterwards. See `ReturnAddress`. */
    readonly returnTo: Option.Option<string>
    /** The account to store the grant under, if that is decided before the login. */
    readonly account: Option.Option<string>
    /** The account at the server that must log in. A login by another one is refused. */
    readonly expectedAccount: Option.Option<string>
    /** The fingerprint of the stored grant that the login replaces, if it may replace no other one. */
    readonly replaces: Option.Option<string>
    /** A digest of the session that the login is bound to. See {@link sessionDigest}. */
    readonly session: Option.Option<string>
    /** Epoch milliseconds. */
    readonly createdAt: number
    readonly expiresAt: number
  }
> {}

const Text = Schema.NullOr(Schema.String)

/** The JSON. Any other field is an error. */
const Json = Schema.Struct({
  format: Schema.Literal(1),
  issuer: Text,
  tokenEndpoint: Text,
  clientId: Schema.String,
  state: Schema.String,
  nonce: Text,
  verifier: Schema.String,
  /** The JWK as JSON. Its fields depend on the kind of key. */
  dpopKey: Text,
  redirectUri: Schema.String,
  scopes: Schema.Array(Schema.String),
  resources: Schema.Array(Schema.String),
  maxAge: Text,
  returnTo: Text,
  account: Text,
  expectedAccount: Text,
  replaces: Text,
  session: Text,
  createdAt: Schema.Number,
  expiresAt: Schema.Number
})

const decodeJson = Schema.decodeUnknownEither(Json, { onExcessProperty: "error" })

/**
 * Converts an attempt to JSON, with its secrets in clear text.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toJson = (attempt: LoginAttempt): Redacted.Redacted => {
  const json: typeof Json.Type = {
    format: 1,
    issuer: Option.getOrNull(attempt.issuer),
    tokenEndpoint: Option.getOrNull(attempt.tokenEndpoint),
    clientId: attempt.clientId,
    state: Redacted.value(attempt.state),
    nonce: Option.getOrNull(Option.map(attempt.nonce, Redacted.value)),
    verifier: Redacted.value(attempt.verifier),
    dpopKey: Option.getOrNull(Option.map(attempt.dpopKey, (jwk) => JSON.stringify(Redacted.value(jwk)))),
    redirectUri: attempt.redirectUri,
    scopes: attempt.scopes,
    resources: attempt.resources,
    maxAge: Option.getOrNull(attempt.maxAge),
    returnTo: Option.getOrNull(attempt.returnTo),
    account: Option.getOrNull(attempt.account),
    expectedAccount: Option.getOrNull(attempt.expectedAccount),
    replaces: Option.getOrNull(attempt.replaces),
    session: Option.getOrNull(attempt.session),
    createdAt: attempt.createdAt,
    expiresAt: attempt.expiresAt
  }
  return Redacted.make(JSON.stringify(json))
}

/**
 * Reads an attempt from its JSON. Fails with a {@link LoginError} (`Malformed`) that quotes nothing, if a field
 * is missing, unknown, of another type, or holds a value that no login has.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromJson = (text: Redacted.Redacted): Either.Either<LoginAttempt, LoginError> =>
  Either.gen(function* () {
    const parsed = yield* parseJson(Redacted.value(text))
    const json = yield* Either.mapLeft(decodeJson(parsed), () => unreadable)
    if (!isPlausible(json)) return yield* Either.left(unreadable)
    const dpopKey = json.dpopKey === null ? Option.none() : Option.some(yield* jwkOf(json.dpopKey))
    return new LoginAttempt({
      issuer: Option.fromNullable(json.issuer),
      tokenEndpoint: Option.fromNullable(json.tokenEndpoint),
      clientId: json.clientId,
      state: Redacted.make(json.state),
      nonce: Option.map(Option.fromNullable(json.nonce), Redacted.make),
      verifier: Redacted.make(json.verifier),
      dpopKey,
      redirectUri: json.redirectUri,
      scopes: json.scopes,
      resources: json.resources,
      maxAge: Option.fromNullable(json.maxAge),
      returnTo: Option.fromNullable(json.returnTo),
      account: Option.fromNullable(json.account),
      expectedAccount: Option.fromNullable(json.expectedAccount),
      replaces: Option.fromNullable(json.replaces),
      session: Option.fromNullable(json.session),
      createdAt: json.createdAt,
      expiresAt: json.expiresAt
    })
  })

/** What the types do not say: random values are long enough, an address is safe, an instant is one. */
const isPlausible = (json: typeof Json.Type): boolean =>
  isRandom(json.state) &&
  (json.nonce === null || isRandom(json.nonce)) &&
  /^[\w.~-]{43,128}$/.test(json.verifier) &&
  json.clientId !== "" &&
  URL.canParse(json.redirectUri) &&
  (json.returnTo === null || Option.contains(ReturnAddress.parse(json.returnTo), json.returnTo)) &&
  (json.session === null || /^[0-9a-f]{64}$/.test(json.session)) &&
  json.account !== "" &&
  json.expectedAccount !== "" &&
  (json.replaces === null || isFingerprint(json.replaces)) &&
  Number.isSafeInteger(json.createdAt) &&
  Number.isSafeInteger(json.expiresAt) &&
  json.createdAt < json.expiresAt

const isFingerprint = (text: string): boolean => /^[0-9a-f]{12}$/.test(text)

/** 256 random bits in base64url. */
const isRandom = (text: string): boolean => /^[\w-]{43}$/.test(text)

const jwkOf = (text: string): Either.Either<Redacted.Redacted<oauth.JWK>, LoginError> =>
  Either.flatMap(parseJson(text), (jwk) =>
    isJwk(jwk) ? Either.right(Redacted.make(jwk)) : Either.left(unreadable)
  )

const parseJson = (text: string): Either.Either<unknown, LoginError> =>
  Either.try({ try: (): unknown => JSON.parse(text), catch: () => unreadable })

const isJwk = (value: unknown): value is oauth.JWK =>
  typeof value === "object" && value !== null && "kty" in value && typeof value.kty === "string"

/**
 * Returns the digest by which an attempt is bound to a session, so that the attempt does not hold the session's
 * secret. `session` is any text that stays the same while the user logs in: the ID of the session, or of the
 * user.
 *
 * @since 0.1.0
 * @category getters
 */
export const sessionDigest = (session: string): string =>
  Fingerprint.sha256(new TextEncoder().encode(`latchkey login session\0${session}`))

/**
 * What is known when a browser comes back from the server.
 *
 * @since 0.1.0
 * @category models
 */
export interface Return {
  /** Epoch milliseconds. */
  readonly now: number
  /** The session of the request, see {@link sessionDigest}. */
  readonly session: Option.Option<string>
  /** The server and the client of this instance. */
  readonly party: Party
}

/**
 * Returns the reason not to finish a login, if there is one: it has expired (`TimedOut`), it was begun in
 * another session (`StateMismatch`), or at another server or by another client (`Misconfigured`).
 *
 * The token endpoint must be the same as well. If the server moved it meanwhile, the user starts again.
 *
 * @since 0.1.0
 * @category decisions
 */
export const problem = (attempt: LoginAttempt, found: Return): Option.Option<LoginError> => {
  const late = expiry(attempt, found.now)
  if (Option.isSome(late)) return late
  if (!same(attempt.session, Option.map(found.session, sessionDigest))) return Option.some(otherSession)
  return sameParty(attempt, found.party) ? Option.none() : Option.some(otherParty)
}

/**
 * Returns a `TimedOut` if the attempt has expired at `now`, in epoch milliseconds.
 *
 * @since 0.1.0
 * @category decisions
 */
export const expiry = (attempt: LoginAttempt, now: number): Option.Option<LoginError> =>
  now >= attempt.expiresAt ? Option.some(tooLate(attempt)) : Option.none()

/** Unlike an unknown identity of a stored grant, an absent value here equals only an absent value. */
const same = (a: Option.Option<string>, b: Option.Option<string>): boolean =>
  Option.getOrNull(a) === Option.getOrNull(b)

const sameParty = (a: Party, b: Party): boolean =>
  same(a.issuer, b.issuer) && same(a.tokenEndpoint, b.tokenEndpoint) && a.clientId === b.clientId

const tooLate = ({ createdAt, expiresAt }: LoginAttempt): LoginError =>
  new LoginError({
    reason: "TimedOut",
    message: `The login was not finished within ${Math.round((expiresAt - createdAt) / 1000)} seconds: start it again.`
  })

const otherSession = new LoginError({
  reason: "StateMismatch",
  message: "The login was begun in another session: start the login again in this one."
})

const otherParty = new LoginError({
  reason: "Misconfigured",
  message:
    "The login was begun at another server, or by another client, than this instance uses. Nothing was sent: give all instances the same settings, and start the login again."
})

/**
 * Returns the reason to refuse the account that logged in, if the attempt expects one: it is another one, or
 * the server did not name it (`OtherAccount`).
 *
 * @since 0.1.0
 * @category decisions
 */
export const accountProblem = (
  { expectedAccount }: Pick<LoginAttempt, "expectedAccount">,
  account: Option.Option<string>
): Option.Option<LoginError> =>
  Option.isNone(expectedAccount) || same(expectedAccount, account) ? Option.none() : Option.some(otherAccount)

/** It names no account: the page that shows it may belong to somebody else. */
const otherAccount = new LoginError({
  reason: "OtherAccount",
  message:
    "Another account logged in than this login is for. Nothing was stored, and the old grant is unchanged: log out at the server, and start again with the right account."
})

/**
 * Returns the reason to refuse a login that may replace one grant only, if another one is stored now, or none
 * (`Expired`). `stored` is the fingerprint of the stored grant, see `Entry.grantFingerprint`.
 *
 * @since 0.1.0
 * @category decisions
 */
export const grantProblem = (
  { replaces }: Pick<LoginAttempt, "replaces">,
  stored: Option.Option<string>
): Option.Option<LoginError> =>
  Option.isNone(replaces) || same(replaces, stored) ? Option.none() : Option.some(linkOver)

const linkOver = new LoginError({
  reason: "Expired",
  message:
    "This link was used already, or the account has a new grant since it was made. Nothing was changed: ask for a new link if you need one."
})
