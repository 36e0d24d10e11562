/**
 * One grant, several parameter sets: access tokens for other scopes, resources or audiences than the grant's
 * own, all from its one refresh token.
 *
 * Each set has its own manager and its own cached token. A token of one set is never served for another (RFC
 * 8707 §2.2, RFC 6749 §6). The grant's lease serializes refreshes, and a rotation by one set serves them all.
 *
 * @since 0.1.0
 */
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Credentials from "./Credentials.js"
import * as Entry from "./Entry.js"
import { millisOrForever } from "./internal/Settings.js"
import type { RefreshLease } from "./RefreshLease.js"
import type { TokenConfig } from "./TokenConfig.js"
import type { TokenError } from "./TokenError.js"
import * as TokenManager from "./TokenManager.js"
import { TokenRefresher } from "./TokenRefresher.js"
import { CommitRefused, TokenStorage, type Versioned } from "./TokenStorage.js"

/**
 * What a token is for. The order of scopes and resources, and duplicates, make no difference.
 *
 * @since 0.1.0
 * @category models
 */
export interface Parameters {
  readonly scopes?: ReadonlyArray<string>
  readonly resource?: ReadonlyArray<string>
  readonly audience?: string
}

const canonical = (parameters: Parameters) => ({
  scopes: [...new Set(parameters.scopes)].sort(),
  resource: [...new Set(parameters.resource)].sort(),
  audience: parameters.audience ?? ""
})

/**
 * A text that is the same for equal sets only.
 *
 * @since 0.1.0
 * @category getters
 */
export const key = (parameters: Parameters): string => JSON.stringify(Object.values(canonical(parameters)))

/**
 * A manager of one set's tokens. Logins and logouts belong to the whole grant: use its own manager.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenSet = Pick<
  TokenManager.Manager,
  | "getAccessToken"
  | "getAccessTokenFor"
  | "peekAccessToken"
  | "unsafePeek"
  | "refresh"
  | "reject"
  | "status"
  | "explain"
  | "events"
>

/**
 * The sets of one grant.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenSets<E> {
  /** Returns a valid token of this set. See `TokenManager`. */
  readonly getAccessToken: (parameters: Parameters) => Effect.Effect<Redacted.Redacted, TokenError | E>
  /** Returns the set's manager, which is kept while the scope is open. */
  readonly get: (parameters: Parameters) => Effect.Effect<TokenSet, E, Scope.Scope>
}

/**
 * How a set's tokens are obtained, and what the managers have in common.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<E, R> extends TokenManager.Options {
  /** Creates the refresher that requests this set with the grant's refresh token. */
  readonly refresher: (parameters: Parameters) => Effect.Effect<Context.Tag.Service<TokenRefresher>, E, R>
  /** How long the manager of an unused set is kept. Default: a minute. */
  readonly idleTimeToLive?: Duration.DurationInput
}

/**
 * Creates the sets of the grant in `TokenStorage`. They share storage and lease with the grant's own manager:
 * give all of them the same `account`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E, R>(
  options: Options<E, R>
): Effect.Effect<
  TokenSets<E>,
  ConfigError.ConfigError,
  TokenStorage | RefreshLease | TokenConfig | Scope.Scope | R
> =>
  Effect.gen(function* () {
    const { idleTimeToLive: idle = "1 minute", refresher, ...shared } = options
    const idleTimeToLive = yield* millisOrForever("idleTimeToLive", idle)
    const storage = yield* TokenStorage
    const pool = yield* RcMap.make({
      idleTimeToLive,
      lookup: (set: SetKey) =>
        Effect.flatMap(refresher(set.parameters), (service) =>
          TokenManager.make(shared).pipe(
            Effect.provideService(TokenRefresher, service),
            Effect.provideService(TokenStorage, view(storage, set.text))
          )
        )
    })
    const get = (parameters: Parameters) => RcMap.get(pool, new SetKey(parameters))
    return {
      get,
      getAccessToken: (parameters) =>
        Effect.scoped(Effect.flatMap(get(parameters), (manager) => manager.getAccessToken))
    }
  })

/** Equal by its text alone. */
class SetKey extends Data.Class<{ readonly text: string }> {
  readonly #parameters: Parameters
  constructor(parameters: Parameters) {
    super({ text: key(parameters) })
    this.#parameters = parameters
  }
  get parameters(): Parameters {
    return this.#parameters
  }
}

/** The key of the sets' tokens among the extras of the grant's credentials. */
const extrasKey = "latchkey:sets"

const optionalNumber = Schema.optionalWith(Schema.Finite, { as: "Option" })

const SetToken = Schema.Struct({
  accessToken: Schema.NonEmptyString,
  tokenType: Schema.String.pipe(
    Schema.filter((value) => Option.getOrUndefined(Credentials.tokenTypeNameProblem(value)))
  ),
  obtainedAt: optionalNumber,
  serverTime: optionalNumber,
  expiresAt: optionalNumber,
  refreshAt: optionalNumber,
  scopes: Schema.Array(Schema.String)
})
const decodeSets = Schema.decodeUnknownOption(Schema.Record({ key: Schema.String, value: SetToken }))
const encodeSet = Schema.encodeSync(SetToken)

const setsOf = (credentials: Credentials.Credentials) =>
  Option.getOrElse(decodeSets(Redacted.value(credentials.extras)[extrasKey]), () => ({}))

/** A set without a token looks like one whose token has expired: the next request refreshes it. */
const noToken = {
  accessToken: Redacted.make(""),
  expiresAt: Option.some(0),
  refreshAt: Option.none(),
  obtainedAt: Option.none(),
  serverTime: Option.none()
}

/** The grant as one set sees it: the set's access token, and the rest of the grant. */
const toSet = (set: string, entry: Entry.Entry): Entry.Entry => {
  const sets: Readonly<Record<string, typeof SetToken.Type>> = setsOf(entry.credentials)
  const token = Object.hasOwn(sets, set) ? sets[set] : undefined
  return new Entry.Entry({
    ...entry,
    credentials: new Credentials.Credentials({
      ...entry.credentials,
      ...(token === undefined ? noToken : { ...token, accessToken: Redacted.make(token.accessToken) })
    })
  })
}

/**
 * Merges a set's change into the grant: its token goes among those of the sets, and the rest replaces the
 * grant's. Drops expired tokens of other sets. Otherwise a program that always requests new sets would fill
 * its storage.
 */
const fromSet = (set: string, changed: Entry.Entry, grant: Entry.Entry): Entry.Entry => {
  const { accessToken, extras, refreshToken, ...own } = changed.credentials
  const secret = Redacted.value(accessToken)
  const token = secret === "" ? {} : { [set]: encodeSet({ ...own, accessToken: secret }) }
  const isAlive = (other: typeof SetToken.Type): boolean =>
    !Option.exists(Option.all([other.expiresAt, own.obtainedAt]), ([end, now]) => end <= now)
  const others = Object.entries(setsOf(grant.credentials))
    .filter(([, other]) => isAlive(other))
    .map(([name, other]) => [name, encodeSet(other)])
  return new Entry.Entry({
    ...changed,
    credentials: new Credentials.Credentials({
      ...grant.credentials,
      refreshToken,
      extras: Redacted.make({
        ...Redacted.value(extras),
        [extrasKey]: { ...Object.fromEntries(others), ...token }
      })
    })
  })
}

const view = (storage: Context.Tag.Service<TokenStorage>, set: string): Context.Tag.Service<TokenStorage> => {
  // The grant as last read here. A set's change is applied to it at that version or not at all.
  let grant: Option.Option<Versioned> = Option.none()
  return TokenStorage.of({
    location: storage.location,
    load: Effect.map(storage.load, (loaded) => {
      grant = loaded
      return Option.map(loaded, ({ entry, version }) => ({ entry: toSet(set, entry), version }))
    }),
    commit: (entry, expected) =>
      Effect.suspend(() => {
        if (Option.isNone(grant) || grant.value.version !== Option.getOrNull(expected)) {
          return Effect.fail(new CommitRefused({ reason: "Conflict", location: storage.location }))
        }
        const next = fromSet(set, entry, grant.value.entry)
        return Effect.tap(storage.commit(next, expected), (version) =>
          Effect.sync(() => (grant = Option.some({ entry: next, version })))
        )
      }),
    remove: storage.remove,
    changes: storage.changes
  })
}
