/**
 * An account in use: its storage, and a manager over it.
 *
 * The code that renews a grant (the provider, the wire) is loaded when a grant must be renewed. A token that
 * is still valid needs neither. The manager is the same.
 *
 * @since 0.1.0
 */
import * as Decision from "@latchkey/core/Decision"
import type * as Entry from "@latchkey/core/Entry"
import { Mismatch as GrantMismatch } from "@latchkey/core/internal-api"
import type { Mismatch } from "@latchkey/core/GrantIdentity"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import { identityOf, RefreshError, TokenRefresher, rotating } from "@latchkey/core/TokenRefresher"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Account from "./Account.js"
import * as Accounts from "./Accounts.js"
import * as Failure from "./Failure.js"
import * as Paths from "./Paths.js"
import { originOf } from "./ProviderIdentity.js"
import type { Session } from "./Store.js"
import { Workspace } from "./Workspace.js"

export type { Session } from "./Store.js"

/**
 * How a user logs in to an account again.
 *
 * @since 0.1.0
 * @category getters
 */
export const aboutOf = ({ grant, name, provider }: Account.Account): Failure.About => ({
  account: Account.idOf({ provider, name }),
  login: Account.loginTo(provider, name) + (grant === "client-credentials" ? " --client-credentials" : "")
})

/**
 * Finds the account that the user means by `text`. It searches for accounts of other programs only if the
 * name is otherwise ambiguous.
 *
 * @since 0.1.0
 * @category constructors
 */
export const find = (text: string): Effect.Effect<Account.Account, Failure.Failure, Workspace> =>
  Effect.gen(function* () {
    const { paths } = yield* Workspace
    const { accounts, broken } = yield* Accounts.list(paths)
    const found = Account.find(text, accounts)
    if (Either.isRight(found) && isCertain(text, found.right)) return found.right
    // The unreadable account may be the one that is meant.
    const [unreadable] = broken
    if (unreadable !== undefined) return yield* unreadable
    const { discovered, registry } = yield* access
    const [provider = ""] = text.split("/")
    const own = Account.find(text, [...accounts, ...(yield* discovered(accounts, provider)).accounts])
    if (Either.isRight(own) && isCertain(text, own.right)) return own.right
    const others = yield* discovered(accounts)
    const { ids } = yield* registry
    const providers = yield* Effect.orElseSucceed(ids, () => [])
    const known = Account.find(text, [...accounts, ...others.accounts], providers)
    const [wrong] = others.broken
    return wrong !== undefined && Either.isLeft(known) ? yield* wrong : yield* known
  })

/** Accounts of other programs are all called `default`, and a provider's name means that one first. */
const isCertain = (text: string, { name, provider }: Account.Account): boolean =>
  text === `${provider}/${name}` || (name === Account.defaultName ? text === provider : text === name)

/**
 * All accounts: those with a login here, and those of providers whose own programs have one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const all: Effect.Effect<
  { readonly accounts: ReadonlyArray<Account.Account>; readonly broken: ReadonlyArray<Failure.Failure> },
  Failure.Failure,
  Workspace
> = Effect.gen(function* () {
  const { paths } = yield* Workspace
  const { accounts, broken } = yield* Accounts.list(paths)
  const { discovered } = yield* access
  const others = yield* discovered(accounts)
  return { accounts: [...accounts, ...others.accounts], broken: [...broken, ...others.broken] }
})

/**
 * Returns the account with its storage opened.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (
  account: Account.Account
): Effect.Effect<Session, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const { store } = yield* Workspace
    const about = aboutOf(account)
    if (account.home.kind === "provider") {
      const { open } = yield* access
      return { account, about, ...(yield* open(account)) }
    }
    const { provider } = account
    const { encryption } = account.home
    const kept = yield* Effect.mapError(
      store.open({ provider, account: Account.idOf(account), encryption }),
      (error) => Failure.fromToken(error, about)
    )
    return { account, about, ...kept, place: yield* placeOf(account) }
  })

/**
 * Returns where an account's grant is stored, even if it cannot be opened.
 *
 * @since 0.1.0
 * @category getters
 */
export const placeOf = ({ home }: Account.Account): Effect.Effect<string, never, Workspace> =>
  Effect.map(Workspace, ({ paths }) =>
    home.kind === "store" ? Paths.shorten(paths, paths.store) : "its provider's own file"
  )

/**
 * Returns the manager of an account. It loads the code that renews its grant if `request` is likely to need
 * it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const manager = (
  session: Session,
  request = { force: false, minValidity: 0 }
): Effect.Effect<TokenManager.Manager, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const config = yield* configOf(session)
    const fresh = !request.force && (yield* isFresh(session, Math.max(config.grace, request.minValidity)))
    if (fresh) return yield* make(session, yield* onDemand(session))
    const loaded = yield* Effect.either(loadRefresher(session))
    if (Either.isRight(loaded)) return yield* make(session, loaded.right)
    // The client's secret is missing. While the token is valid, it is served anyway.
    const valid = !request.force && (yield* hasLeft(session, request.minValidity))
    return valid ? yield* make(session, yield* onDemand(session)) : yield* loaded.left
  })

/**
 * Returns the manager of an account for an explanation only. It uses the server's rules if they are
 * available, and does without them if something that a request needs is missing, such as the client's secret.
 *
 * @since 0.1.0
 * @category constructors
 */
export const observer = (
  session: Session
): Effect.Effect<TokenManager.Manager, Failure.Failure, Workspace | Scope.Scope> =>
  loadRefresher(session).pipe(
    Effect.orElse(() => onDemand(session)),
    Effect.flatMap((refresher) => make(session, refresher))
  )

const configOf = ({ about }: Session) =>
  Effect.mapError(Effect.provide(TokenConfig.TokenConfig, TokenConfig.layerConfig()), (error) =>
    Failure.fromToken(error, about)
  )

const make = (
  session: Session,
  refresher: Context.Tag.Service<TokenRefresher>
): Effect.Effect<TokenManager.Manager, Failure.Failure, Scope.Scope> =>
  Effect.gen(function* () {
    const { account, lease, storage } = session
    const config = yield* configOf(session)
    return yield* TokenManager.make({
      provider: account.provider,
      account: Account.idOf(account),
      watch: false
    }).pipe(
      Effect.provideService(TokenStorage, storage),
      Effect.provideService(RefreshLease, lease),
      Effect.provideService(TokenRefresher, refresher),
      Effect.provideService(TokenConfig.TokenConfig, config)
    )
  })

/**
 * Returns the manager of an account for saving, clearing or displaying only.
 *
 * @since 0.1.0
 * @category constructors
 */
export const keeper = (
  session: Session
): Effect.Effect<TokenManager.Manager, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.flatMap(onDemand(session), (refresher) => make(session, refresher))

/** The providers and the wire are in separate modules, with everything that they import. */
const access = Effect.promise(() => import("./ProviderAccess.js"))
const wire = Effect.promise(() => import("./ProviderWire.js"))

/**
 * How a stored grant differs from those of the account's server and client, if it does.
 *
 * @since 0.1.0
 * @category getters
 */
export const mismatch = (
  { account }: Pick<Session, "account">,
  entry: Entry.Entry
): Effect.Effect<Option.Option<Mismatch>, never, Workspace> =>
  Effect.map(originOf(account), (origin) =>
    Option.flatMap(identityOf(origin, entry.credentials), (current) =>
      GrantMismatch.mismatch(entry, current, origin.formerly)
    )
  )

const loadRefresher = (session: Session) => Effect.flatMap(wire, ({ refresher }) => refresher(session))

/** Whether the token stays valid for this long, in milliseconds. */
const hasLeft = ({ storage }: Session, minValidity: number): Effect.Effect<boolean> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.match(storage.load, {
      onFailure: () => false,
      onSuccess: Option.exists(({ entry }) =>
        Option.match(Decision.timeToExpiry(entry.credentials, now), {
          onNone: () => true,
          onSome: (left) => left > minValidity
        })
      )
    })
  )

/** A guess at the manager's decision. A wrong guess does no harm. */
const isFresh = ({ storage }: Session, grace: number): Effect.Effect<boolean> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.match(storage.load, {
      onFailure: () => false,
      // A refresh whose response was lost is repeated while the server's window is open. Only the real
      // refresher knows the window.
      onSuccess: Option.exists(
        ({ entry }) => Option.isNone(entry.intent) && !Decision.shouldRefresh(entry.credentials, now, grace)
      )
    })
  )

/** Loads the real one if it is called after all, for example when a token expires at this moment. */
const onDemand = (
  session: Session
): Effect.Effect<Context.Tag.Service<TokenRefresher>, never, Workspace | Scope.Scope> =>
  Effect.zipWith(Effect.context<Workspace | Scope.Scope>(), originOf(session.account), (context, origin) =>
    TokenRefresher.of({
      identity: origin.identity,
      formerly: origin.formerly,
      clientIdIn: origin.clientIdIn,
      needsRefreshToken: session.account.grant === "refresh",
      rotation: rotating(),
      refresh: (previous) =>
        loadRefresher(session).pipe(
          Effect.mapError(({ message }) => new RefreshError({ reason: "Misconfigured", message })),
          Effect.flatMap((refresher) => refresher.refresh(previous)),
          Effect.provide(context)
        )
    })
  )
