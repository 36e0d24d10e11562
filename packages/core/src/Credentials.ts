/**
 * The immutable record of one grant, and the rule by which a token response changes it.
 *
 * Times are epoch milliseconds. What is absent is `Option.none()`, never zero or the empty string. Every
 * field that may hold a secret is `Redacted`, `extras` too: a server's unknown fields may be anything.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/**
 * Fields that are not ours to understand, kept as they came.
 *
 * @since 0.1.0
 * @category models
 */
export type Extras = Readonly<Record<string, unknown>>

interface Fields {
  readonly accessToken: Redacted.Redacted
  readonly refreshToken: Option.Option<Redacted.Redacted>
  readonly idToken: Option.Option<Redacted.Redacted>
  /** As the server wrote it; compare without regard to case (RFC 6749 §5.1). */
  readonly tokenType: string
  /** When the request that brought the access token was sent, by our clock or the server's, the earlier one. */
  readonly obtainedAt: Option.Option<number>
  /** When the server answered with the access token by the server's own clock (`Date`, RFC 9110 §6.6.1). */
  readonly serverTime: Option.Option<number>
  readonly expiresAt: Option.Option<number>
  /** From when the server wants the access token renewed, where it says so (`refresh_in`). */
  readonly refreshAt: Option.Option<number>
  readonly scopes: ReadonlyArray<string>
  readonly accountId: Option.Option<string>
  readonly extras: Redacted.Redacted<Extras>
}

/**
 * One grant: an access token and what is needed to replace it.
 *
 * @since 0.1.0
 * @category models
 */
export class Credentials extends Data.Class<Fields> {}

/**
 * The same fields, with what many records have alike held once for all of them: there may be a hundred
 * thousand in memory.
 *
 * @since 0.1.0
 * @category constructors
 */
export const share = (fields: Fields): Fields => ({
  ...fields,
  tokenType: fields.tokenType === "Bearer" ? "Bearer" : fields.tokenType,
  scopes: shareScopes(fields.scopes),
  extras: Object.keys(Redacted.value(fields.extras)).length === 0 ? noExtras : fields.extras
})

const noExtras = Redacted.make<Extras>(Object.freeze({}))

/** The scopes of the grants are few, and often the same for all users of a program. */
const knownScopes = new Map<string, ReadonlyArray<string>>()

const shareScopes = (scopes: ReadonlyArray<string>): ReadonlyArray<string> => {
  const key = scopes.join(" ")
  const known = knownScopes.get(key)
  if (known === undefined && knownScopes.size < 1000) knownScopes.set(key, scopes)
  // A scope with a space in it is none, but may have been given.
  return known?.length === scopes.length && known.every((scope, at) => scope === scopes[at]) ? known : scopes
}

/**
 * What {@link make} takes: plain values, absent ones left out. `expiresAt`, `refreshAt`, `obtainedAt` and
 * `serverTime` are epoch milliseconds; `tokenType` is `Bearer` unless given.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly accessToken: string | Redacted.Redacted
  readonly refreshToken?: string | Redacted.Redacted | undefined
  readonly idToken?: string | Redacted.Redacted | undefined
  readonly tokenType?: string | undefined
  readonly obtainedAt?: number | undefined
  readonly serverTime?: number | undefined
  readonly expiresAt?: number | undefined
  readonly refreshAt?: number | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly accountId?: string | undefined
  readonly extras?: Extras | undefined
}

const redact = (value: string | Redacted.Redacted): Redacted.Redacted =>
  typeof value === "string" ? Redacted.make(value) : value

const redactOption = (value: string | Redacted.Redacted | undefined): Option.Option<Redacted.Redacted> =>
  Option.filter(Option.map(Option.fromNullable(value), redact), (token) => Redacted.value(token) !== "")

const instant = (millis: number | undefined): Option.Option<number> =>
  Option.filter(Option.fromNullable(millis), (value) => !Number.isNaN(value))

/**
 * Credentials from plain values. An empty refresh or id token and an instant that is NaN count as absent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Credentials =>
  new Credentials(
    share({
      accessToken: redact(options.accessToken),
      refreshToken: redactOption(options.refreshToken),
      idToken: redactOption(options.idToken),
      tokenType: options.tokenType ?? "Bearer",
      obtainedAt: instant(options.obtainedAt),
      serverTime: instant(options.serverTime),
      expiresAt: instant(options.expiresAt),
      refreshAt: instant(options.refreshAt),
      scopes: options.scopes ?? [],
      accountId: Option.fromNullable(options.accountId),
      extras: Redacted.make(options.extras ?? {})
    })
  )

/**
 * How long the access token was meant to live, in milliseconds, where both ends are known and in order.
 *
 * @since 0.1.0
 * @category getters
 */
export const lifetime = (credentials: Credentials): Option.Option<number> => {
  const { expiresAt, obtainedAt } = credentials
  if (Option.isNone(expiresAt) || Option.isNone(obtainedAt)) return Option.none()
  const millis = expiresAt.value - obtainedAt.value
  return millis > 0 ? Option.some(millis) : Option.none()
}

/**
 * Whether both records hold the same refresh token, or both none.
 *
 * @since 0.1.0
 * @category predicates
 */
export const sameRefreshToken = (a: Credentials, b: Credentials): boolean =>
  sameSecret(a.refreshToken, b.refreshToken)

/**
 * Whether both records hold the same access token.
 *
 * @since 0.1.0
 * @category predicates
 */
export const sameAccessToken = (a: Credentials, b: Credentials): boolean =>
  Redacted.value(a.accessToken) === Redacted.value(b.accessToken)

const sameSecret = (a: Option.Option<Redacted.Redacted>, b: Option.Option<Redacted.Redacted>): boolean =>
  Option.getOrNull(Option.map(a, Redacted.value)) === Option.getOrNull(Option.map(b, Redacted.value))

/**
 * What is wrong with a token, or none. A token is one or more visible ASCII characters or spaces
 * (RFC 6749, appendix A.12), and not a word that a broken writer leaves where a token should be.
 *
 * @since 0.1.0
 * @category validation
 */
export const tokenProblem = (value: unknown): Option.Option<string> => {
  if (typeof value !== "string") return Option.some(`is ${describeType(value)}, not a string`)
  if (value.trim() === "") return Option.some("is blank")
  if (value === "undefined" || value === "null") return Option.some(`is the word "${value}"`)
  if (value.length > longestToken) return Option.some("is longer than any header can carry")
  return /^[\x20-\x7e]+$/.test(value)
    ? Option.none()
    : Option.some("has a control character or one outside ASCII")
}

/**
 * What is wrong with a token type, or none. It goes into a header as a scheme: one or more of the characters of an
 * RFC 9110 §5.6.2 token, 100 at most.
 *
 * @since 0.1.0
 * @category validation
 */
export const tokenTypeNameProblem = (value: unknown): Option.Option<string> =>
  typeof value !== "string"
    ? Option.some(`is ${describeType(value)}, not a string`)
    : /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/.test(value)
      ? Option.none()
      : Option.some("is no token type (RFC 9110 §5.6.2)")

/** In characters; servers refuse headers of far less. */
const longestToken = 131_072

const describeType = (value: unknown): string =>
  value === undefined
    ? "missing"
    : value === null
      ? "null"
      : Array.isArray(value)
        ? "an array"
        : typeof value === "object"
          ? "an object"
          : `a ${typeof value}`

/**
 * What is wrong with a token response: the field, in words without its value, and the previous credentials
 * with the new refresh token, where the response held a usable one. Those are to be saved before anything
 * else is made of the problem: the old refresh token is spent.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResponseProblem extends Data.TaggedClass("ResponseProblem")<{
  readonly field: string
  readonly problem: string
  readonly salvaged: Option.Option<Credentials>
}> {}

/**
 * What {@link fromResponse} must know beside the response.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResponseContext {
  /** When the request was sent: the lifetime counts from here, never from the answer. */
  readonly requestedAt: number
  /**
   * By how many milliseconds the server's clock was behind ours: the lifetime counts from that much earlier,
   * since others will read the expiry by better clocks than ours, or we by ours once it is set right. A quarter
   * of the lifetime at most; 0 unless given.
   */
  readonly serverBehind?: number
  /** When the server answered by its own clock, in epoch milliseconds, where it said so. */
  readonly serverTime?: number | undefined
  /** Token types the caller can use, compared without regard to case; `bearer` and `dpop` unless given. */
  readonly tokenTypes?: ReadonlyArray<string>
  /** Where the provider names the account; without it the account never changes. */
  readonly accountId?: (response: Extras) => Option.Option<string>
}

/**
 * A field of a token response that was not used: which, and in words what is wrong with it, without its value.
 *
 * @since 0.1.0
 * @category models
 */
export interface FieldWarning {
  readonly field: string
  readonly problem: string
}

/** By access token: what is made of credentials on their way to the manager keeps that. */
const warned = new WeakMap<Redacted.Redacted, ReadonlyArray<FieldWarning>>()

/**
 * What was wrong with the response that brought these credentials, where they could be used all the same. Known for
 * as long as this process holds them, and not stored.
 *
 * @since 0.1.0
 * @category getters
 */
export const warnings = ({ accessToken }: Credentials): ReadonlyArray<FieldWarning> =>
  warned.get(accessToken) ?? []

/**
 * The same credentials, with what was wrong with the response that brought them; for refreshers that read it by
 * themselves. An empty list changes nothing.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withWarnings = (
  credentials: Credentials,
  problems: ReadonlyArray<FieldWarning>
): Credentials => {
  if (problems.length > 0) warned.set(credentials.accessToken, [...warnings(credentials), ...problems])
  return credentials
}

/**
 * An expiry that a server wrote by its own clock, as an instant of ours: where its `Date` shows that the two are further
 * apart than clocks that are set right. Epoch milliseconds.
 *
 * @since 0.1.0
 * @category utils
 */
export const byOurClock = (
  expiresAt: number,
  { obtainedAt, serverTime }: Pick<Credentials, "obtainedAt" | "serverTime">
): number =>
  expiresAt +
  Option.match(
    Option.zipWith(obtainedAt, serverTime, (ours, theirs) => ours - theirs),
    { onNone: () => 0, onSome: (ahead) => (Math.abs(ahead) > clockTolerance ? ahead : 0) }
  )

/**
 * How far apart two clocks may be and still count as set right, in milliseconds: a minute. Machines that ask a time
 * server are within a second of each other. A minute is below the default grace, so a token that a peer's fast clock
 * dated too late is still renewed before it dies.
 *
 * @since 0.1.0
 * @category constants
 */
export const clockTolerance = 60_000

/** Lifetimes above this are absolute times or nonsense: about 31 years. */
const maxLifetimeSeconds = 1_000_000_000

const known = new Set([
  ...["access_token", "refresh_token", "id_token", "token_type", "expires_in", "refresh_in", "scope"]
])

/**
 * The merge rule (RFC 6749 §5.1, §6): the credentials after a token response.
 *
 * The lifetime counts from `requestedAt`. An absent or empty refresh token, scope or account keeps the
 * previous one, and so does an absent id token; unknown fields of both survive, the response's winning.
 * `"3600"` is a lifetime of 3600 s; an absent `expires_in` is an unknown lifetime. `refresh_in`, which some servers
 * send beside it, says after how many seconds to renew.
 *
 * Only a token, or its type, that cannot be used is a problem. What else is malformed is left out, with a warning
 * (see {@link warnings}): a lifetime that is no sensible number is unknown, an id token or a scope is as if absent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromResponse = (
  response: Extras,
  previous: Option.Option<Credentials>,
  context: ResponseContext
): Either.Either<Credentials, ResponseProblem> => {
  const field = (name: string): unknown => (Object.hasOwn(response, name) ? response[name] : undefined)
  const text = (name: string): Option.Option<string> =>
    Option.filter(Option.liftPredicate((v: unknown) => typeof v === "string")(field(name)), (v) => v !== "")

  /** What is wrong with a token that may be absent. */
  const problemOf = (name: string): Option.Option<string> => {
    const value = field(name)
    return value == null || value === "" ? Option.none() : tokenProblem(value)
  }

  const refreshProblem = problemOf("refresh_token")
  const newRefreshToken = Option.isNone(refreshProblem) ? text("refresh_token") : Option.none()
  const refreshToken = Option.orElse(Option.map(newRefreshToken, redact), () =>
    Option.flatMap(previous, (p) => p.refreshToken)
  )
  const salvaged = Option.flatMap(newRefreshToken, () =>
    Option.map(previous, (p) => new Credentials({ ...p, refreshToken }))
  )
  const fail = (name: string, problem: string) =>
    Either.left(new ResponseProblem({ field: name, problem, salvaged }))

  const accessToken = field("access_token")
  const accessProblem = tokenProblem(accessToken)
  if (Option.isSome(accessProblem)) return fail("access_token", accessProblem.value)

  const typeProblem = tokenTypeProblem(field("token_type"), previous, context)
  if (Option.isSome(typeProblem)) return fail("token_type", typeProblem.value)

  if (Option.isSome(refreshProblem)) return fail("refresh_token", refreshProblem.value)

  const ignored: Array<FieldWarning> = []
  const seconds = lifetimeSeconds(field("expires_in"))
  if (Either.isLeft(seconds)) {
    ignored.push({ field: "expires_in", problem: `${seconds.left}: the lifetime is unknown` })
  }
  const lifetime = Option.flatten(Either.getRight(seconds))
  const renew = lifetimeSeconds(field("refresh_in"))
  if (Either.isLeft(renew)) ignored.push({ field: "refresh_in", problem: renew.left })
  const refreshIn = Option.flatten(Either.getRight(renew))
  const idProblem = problemOf("id_token")
  if (Option.isSome(idProblem)) ignored.push({ field: "id_token", problem: idProblem.value })
  const newIdToken = Option.isNone(idProblem) ? Option.map(text("id_token"), redact) : Option.none()
  const scope = scopesOf(field("scope"))
  if (Either.isLeft(scope)) ignored.push({ field: "scope", problem: scope.left })
  const scopes = Either.getOrElse(scope, (): ReadonlyArray<string> => [])

  const before = Option.flatMap(previous, (p) => p.accountId)
  const after = Option.filter(context.accountId?.(response) ?? Option.none(), (account) => account !== "")
  if (Option.isSome(before) && Option.isSome(after) && before.value !== after.value) {
    return fail("account", "belongs to another account than the grant that was refreshed")
  }

  const obtainedAt = Option.match(lifetime, {
    onNone: () => context.requestedAt,
    onSome: (s) => context.requestedAt - Math.min(Math.max(0, context.serverBehind ?? 0), (s * 1000) / 4)
  })
  const kept = Option.match(previous, { onNone: () => ({}), onSome: (p) => Redacted.value(p.extras) })
  const redacted = Redacted.make(accessToken as string)
  if (ignored.length > 0) warned.set(redacted, ignored)
  return Either.right(
    new Credentials(
      share({
        accessToken: redacted,
        refreshToken,
        idToken: Option.orElse(newIdToken, () => Option.flatMap(previous, (p) => p.idToken)),
        tokenType: field("token_type") as string,
        obtainedAt: Option.some(obtainedAt),
        serverTime: instant(context.serverTime),
        expiresAt: Option.map(lifetime, (s) => obtainedAt + s * 1000),
        refreshAt: Option.map(refreshIn, (s) => obtainedAt + s * 1000),
        scopes:
          scopes.length > 0 ? scopes : Option.match(previous, { onNone: () => [], onSome: (p) => p.scopes }),
        accountId: Option.orElse(after, () => before),
        extras: Redacted.make(withUnknownFields(kept, response))
      })
    )
  )
}

/** What unknown fields may take, in characters of JSON and in levels: more could not be stored. */
const mostExtras = 262_144
const deepestExtras = 64

/**
 * A server's unknown fields must never keep its tokens from being stored: those that would are left out.
 * Nor may they grow without end, refresh after refresh.
 */
const withUnknownFields = (kept: Extras, response: Extras): Extras => {
  const fields = Object.entries(response).filter(
    ([name, value]) => !known.has(name) && name !== "__proto__" && isFlat(value, deepestExtras)
  )
  if (fields.length === 0) return kept
  const merged = { ...kept, ...Object.fromEntries(fields) }
  return JSON.stringify(merged).length <= mostExtras ? merged : kept
}

const isFlat = (value: unknown, levels: number): boolean =>
  typeof value !== "object" ||
  value === null ||
  (levels > 0 &&
    Object.entries(value).every(([name, inner]) => name !== "__proto__" && isFlat(inner, levels - 1)))

const tokenTypeProblem = (
  value: unknown,
  previous: Option.Option<Credentials>,
  context: ResponseContext
): Option.Option<string> => {
  if (value === "") return Option.some("is blank")
  if (typeof value !== "string") return Option.some(`is ${describeType(value)}, not a string`)
  const type = value.toLowerCase()
  if (!(context.tokenTypes ?? ["bearer", "dpop"]).some((t) => t.toLowerCase() === type)) {
    return Option.some("is not one that this client understands (RFC 6749 §7.1)")
  }
  const bound = Option.exists(previous, (p) => p.tokenType.toLowerCase() === "dpop")
  return bound && type !== "dpop" ? Option.some("fell back from DPoP (RFC 9449 §5)") : Option.none()
}

/** A list is what some servers send in place of words in a row. */
const scopesOf = (value: unknown): Either.Either<ReadonlyArray<string>, string> => {
  const words = (text: string) => text.split(/\s/).filter((scope) => scope !== "")
  if (value == null) return Either.right([])
  if (typeof value === "string") return Either.right(words(value))
  return Array.isArray(value) && value.every((each) => typeof each === "string")
    ? Either.right(value.flatMap(words))
    : Either.left(
        `is ${Array.isArray(value) ? "an array of other things" : describeType(value)}, not a string`
      )
}

const lifetimeSeconds = (value: unknown): Either.Either<Option.Option<number>, string> => {
  if (value === undefined) return Either.right(Option.none())
  const seconds = typeof value === "string" && /^\d{1,12}(\.\d{1,12})?$/.test(value) ? Number(value) : value
  if (typeof seconds !== "number") {
    return Either.left(
      `is ${typeof value === "string" ? "not a number" : describeType(value)}, seconds are due`
    )
  }
  if (seconds < 0) return Either.left("is negative")
  return seconds <= maxLifetimeSeconds
    ? Either.right(Option.some(seconds))
    : Either.left("is absurd: an absolute time, or the wrong unit")
}
