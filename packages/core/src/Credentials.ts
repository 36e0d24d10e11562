/**
 * The immutable record of one grant, and the rule by which a token response changes it.
 *
 * Times are epoch milliseconds. An absent field is `Option.none()`, never zero or the empty string. Every field that may
 * hold a secret is `Redacted`, `extras` too: a server's unknown fields may be anything.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import {
  describeType,
  type Extras,
  lifetimeSeconds,
  scopesOf,
  tokenProblem,
  withUnknownFields
} from "./internal/ResponseFields.js"

export { type Extras, tokenProblem, tokenTypeNameProblem } from "./internal/ResponseFields.js"

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
 * The same fields, with values that many records share held once for all of them: there may be a hundred thousand records
 * in memory.
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

/** All users of a program often have the same scopes. */
const knownScopes = new Map<string, ReadonlyArray<string>>()

const shareScopes = (scopes: ReadonlyArray<string>): ReadonlyArray<string> => {
  const key = scopes.join(" ")
  const known = knownScopes.get(key)
  if (known === undefined && knownScopes.size < 1000) knownScopes.set(key, scopes)
  // A scope with a space in it is invalid, and would collide with two scopes.
  return known?.length === scopes.length && known.every((scope, at) => scope === scopes[at]) ? known : scopes
}

/**
 * The fields for {@link make} as plain values, absent ones left out. `expiresAt`, `refreshAt`, `obtainedAt` and
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
 * A token response that cannot be used: the field, the problem in words without the field's value, and the previous
 * credentials with the new refresh token, where the response held a usable one. Save those first: the old refresh token is
 * spent.
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
 * The input of {@link fromResponse} beside the response.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResponseContext {
  /** When the request was sent: the lifetime counts from here, never from the answer. */
  readonly requestedAt: number
  /**
   * By how many milliseconds the server's clock was behind ours. The lifetime counts from that much earlier, because
   * other machines with better clocks read the expiry, and so do we once our clock is set right. A quarter of the
   * lifetime at most; default 0.
   */
  readonly serverBehind?: number
  /** When the server answered by its own clock, in epoch milliseconds, where it said so. */
  readonly serverTime?: number | undefined
  /** Token types the caller can use, compared without regard to case. Default: `bearer` and `dpop`. */
  readonly tokenTypes?: ReadonlyArray<string>
  /** Reads the account from the provider's response; without it the account never changes. */
  readonly accountId?: (response: Extras) => Option.Option<string>
}

/**
 * A field of a token response that was ignored, and the problem with it in words, without its value.
 *
 * @since 0.1.0
 * @category models
 */
export interface FieldWarning {
  readonly field: string
  readonly problem: string
}

/** By access token, which stays the same object in every copy of the credentials on their way to the manager. */
const warned = new WeakMap<Redacted.Redacted, ReadonlyArray<FieldWarning>>()

/**
 * The problems of the response that brought these credentials, where they could be used nevertheless. Known for as long as
 * this process holds the credentials, and not stored.
 *
 * @since 0.1.0
 * @category getters
 */
export const warnings = ({ accessToken }: Credentials): ReadonlyArray<FieldWarning> =>
  warned.get(accessToken) ?? []

/**
 * The same credentials, with the problems of the response that brought them; for refreshers that read the response
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

/**
 * The merge rule (RFC 6749 §5.1, §6): the credentials after a token response.
 *
 * The lifetime counts from `requestedAt`. An absent or empty refresh token, scope or account keeps the
 * previous one, and so does an absent id token; unknown fields of both survive, the response's winning.
 * `"3600"` is a lifetime of 3600 s; an absent `expires_in` is an unknown lifetime. `refresh_in`, which some servers
 * send beside it, says after how many seconds to renew.
 *
 * Only a token, or its type, that cannot be used is a problem. Any other malformed field is left out, with a warning
 * (see {@link warnings}): a lifetime that is no sensible number is unknown, an id token or a scope counts as absent.
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
  const readOr = <A>(name: string, read: Either.Either<A, string>, otherwise: A): A =>
    Either.getOrElse(read, (problem) => {
      ignored.push({ field: name, problem })
      return otherwise
    })
  const none = Option.none<number>()
  const seconds = lifetimeSeconds(field("expires_in"))
  const lifetime = readOr(
    "expires_in",
    Either.mapLeft(seconds, (problem) => `${problem}: the lifetime is unknown`),
    none
  )
  const refreshIn = readOr("refresh_in", lifetimeSeconds(field("refresh_in")), none)
  const newIdToken = readOr(
    "id_token",
    Option.match(problemOf("id_token"), {
      onNone: () => Either.right(Option.map(text("id_token"), redact)),
      onSome: Either.left
    }),
    Option.none()
  )
  const scopes = readOr<ReadonlyArray<string>>("scope", scopesOf(field("scope")), [])

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
  return bound && type !== "dpop"
    ? Option.some("is not DPoP, although the request had a DPoP proof (RFC 9449 §5)")
    : Option.none()
}
