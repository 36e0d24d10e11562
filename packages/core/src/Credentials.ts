/**
 * The immutable record of one grant, and the rule that merges a token response into it.
 *
 * Times are epoch milliseconds. An absent field is `Option.none()`, never zero or the empty string. Every
 * field that may hold a secret is `Redacted`. That includes `extras`, because a server's unknown fields may
 * hold anything.
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
  /** As the server wrote it. Compare it without regard to case (RFC 6749 §5.1). */
  readonly tokenType: string
  /** When the request for the access token was sent: by our clock or the server's, whichever is earlier. */
  readonly obtainedAt: Option.Option<number>
  /** When the server issued the access token, by the server's own clock (`Date`, RFC 9110 §6.6.1). */
  readonly serverTime: Option.Option<number>
  readonly expiresAt: Option.Option<number>
  /**
   * The time from which the access token should be renewed although it is valid: the server wants it
   * (`refresh_in`), or would end a grant that is not used for longer (`keepAlive` of `@latchkey/oauth`).
   */
  readonly refreshAt: Option.Option<number>
  readonly scopes: ReadonlyArray<string>
  readonly accountId: Option.Option<string>
  readonly extras: Redacted.Redacted<Extras>
}

/**
 * One grant: an access token and everything needed to replace it.
 *
 * @since 0.1.0
 * @category models
 */
export class Credentials extends Data.Class<Fields> {}

/**
 * Returns the same fields, with a single copy of values that many records have in common. Memory may hold a
 * hundred thousand records.
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

/** The users of a program often have the same scopes. */
const knownScopes = new Map<string, ReadonlyArray<string>>()

const shareScopes = (scopes: ReadonlyArray<string>): ReadonlyArray<string> => {
  const key = scopes.join(" ")
  const known = knownScopes.get(key)
  if (known === undefined && knownScopes.size < 1000) knownScopes.set(key, scopes)
  // A scope that contains a space is invalid, and would collide with two scopes.
  return known?.length === scopes.length && known.every((scope, at) => scope === scopes[at]) ? known : scopes
}

/**
 * The fields for {@link make} as plain values. Leave out those that are absent. `expiresAt`, `refreshAt`,
 * `obtainedAt` and `serverTime` are epoch milliseconds. `tokenType` defaults to `Bearer`.
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
 * Creates credentials from plain values. An empty refresh token or ID token counts as absent, and so does an
 * instant that is NaN.
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
 * Returns the intended lifetime of the access token, in milliseconds. None unless both ends are known and in
 * order.
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
 * Whether both records hold the same refresh token, or both hold none.
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
 * A token response that cannot be used: the field, and the problem in words without the field's value.
 *
 * If the response held a usable new refresh token, `salvaged` is the previous credentials with that token.
 * Save them first: the old refresh token is spent.
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
 * The input of {@link fromResponse}, apart from the response.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResponseContext {
  /** When the request was sent. The lifetime counts from this time, never from the response. */
  readonly requestedAt: number
  /**
   * By how many milliseconds the server's clock was behind ours. The lifetime counts from that much earlier,
   * because machines with better clocks also read the expiry, and so does this machine once its clock is
   * corrected. At most a quarter of the lifetime counts. Default: 0.
   */
  readonly serverBehind?: number
  /** When the server responded by its own clock, in epoch milliseconds, if the response said so. */
  readonly serverTime?: number | undefined
  /** Token types that the caller can use, compared without regard to case. Default: `bearer` and `dpop`. */
  readonly tokenTypes?: ReadonlyArray<string>
  /** Reads the account from the provider's response. Without it the account never changes. */
  readonly accountId?: (response: Extras) => Option.Option<string>
}

/**
 * A field of a token response that was ignored, and the problem in words without the field's value.
 *
 * @since 0.1.0
 * @category models
 */
export interface FieldWarning {
  readonly field: string
  readonly problem: string
}

/**
 * The key is the access token, because it stays the same object in every copy of the credentials on their way
 * to the manager.
 */
const warned = new WeakMap<Redacted.Redacted, ReadonlyArray<FieldWarning>>()

/**
 * Returns the problems of the response that brought these credentials, if the response was usable despite
 * them. They last as long as this process holds the credentials, and are not stored.
 *
 * @since 0.1.0
 * @category getters
 */
export const warnings = ({ accessToken }: Credentials): ReadonlyArray<FieldWarning> =>
  warned.get(accessToken) ?? []

/**
 * Attaches the problems of the response that brought these credentials. For refreshers that parse the
 * response themselves. An empty list changes nothing.
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
 * Converts an expiry that a server wrote by its own clock to our clock, in epoch milliseconds. It does so
 * only if the server's `Date` shows that the two clocks differ by more than {@link clockTolerance}.
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
 * How far apart two correctly set clocks may be, in milliseconds: a minute. Machines that use a time server
 * are within a second of each other. A minute is below the default grace, so a token that a peer's fast clock
 * dated too late is still renewed before it expires.
 *
 * @since 0.1.0
 * @category constants
 */
export const clockTolerance = 60_000

/**
 * Merges a token response into the previous credentials (RFC 6749 §5.1, §6).
 *
 * The lifetime counts from `requestedAt`. An absent or empty refresh token, scope or account keeps the
 * previous one, and so does an absent ID token. Unknown fields of both are kept; those of the response win.
 * `"3600"` is a lifetime of 3600 s. An absent `expires_in` means that the lifetime is unknown. `refresh_in`,
 * which some servers send as well, is the number of seconds after which to renew.
 *
 * Fails only if a token or its type cannot be used. Any other malformed field is left out, with a warning
 * (see {@link warnings}): a lifetime that is not a sensible number is unknown, and an ID token or a scope
 * counts as absent.
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

  /** Returns the problem with a token that may be absent. */
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
