/**
 * `latchkey login PROVIDER`: gets the first grant of an account, or a new one that replaces the old.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import type { Entry } from "@latchkey/core/Entry"
import { describeMismatch, type Mismatch } from "@latchkey/core/GrantIdentity"
import { Mismatch as GrantMismatch } from "@latchkey/core/internal-api"
import type { StorageError } from "@latchkey/core/TokenStorage"
import type * as Provider from "@latchkey/providers/Provider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Account from "../Account.js"
import * as Accounts from "../Accounts.js"
import * as ClientSecret from "../ClientSecret.js"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as LoginPlan from "../LoginPlan.js"
import * as LoginWays from "../LoginWays.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import { Workspace } from "../Workspace.js"
import * as Shown from "./Shown.js"

/**
 * The arguments on the command line.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends LoginPlan.Asked {
  readonly provider: string
  readonly account: string
  /** How long the browser may take, in milliseconds. */
  readonly patience: Option.Option<number>
  /** Whether a grant of another server, client or account may be replaced. */
  readonly replace: boolean
  readonly json: boolean
}

/**
 * Replaces the existing grant only after the login has succeeded.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { paths } = yield* Workspace
    const name = yield* Account.checkName(options.account)
    const id = { provider: yield* Account.checkProvider(options.provider), name }
    const before = yield* Accounts.get(paths, id)
    yield* Accounts.checkCase(paths, id)
    const plan = yield* LoginPlan.make(id, before, options)
    const { account, provider, secret, warning, way } = plan
    const session = yield* Session.open(account)
    yield* checkReplaceable(session, options.replace)
    if (warning !== undefined) yield* Output.say(warning)
    const credentials = yield* LoginWays.run(provider, way, {
      scopes: plan.scopes,
      account: name,
      patience: Option.getOrUndefined(options.patience)
    })
    const replaced = yield* keep(session, { before, secret, credentials, replace: options.replace })
    yield* tell(session, provider, options.json)
    if (Option.isSome(replaced))
      yield* Output.say(`It replaced the grant that was here (${replaced.value.stored}). ${notRevoked}`)
    return ExitCode.ok
  }).pipe(Effect.scoped)

/**
 * A login takes long, and its code is valid once. So obstacles to saving the grant are found before the
 * login.
 */
const checkReplaceable = (
  session: Session.Session,
  replace: boolean
): Effect.Effect<void, Failure.Failure, Workspace> =>
  Effect.gen(function* () {
    const { about } = session
    const found = yield* Effect.mapError(stored(session), (error) => {
      const failure = Failure.fromToken(error, about)
      return error.reason === "Malformed" || error.reason === "WrongKey" || error.reason === "Insecure"
        ? Failure.storage(
            failure.reason,
            failure.message,
            `latchkey logout ${about.account} --local, then log in`
          )
        : failure
    })
    if (replace || Option.isNone(found)) return
    const other = yield* Session.mismatch(session, found.value)
    if (Option.isSome(other)) return yield* Failure.mismatch(other.value, about)
  })

/** Returns the existing entry. A place that holds no grant has room for one. */
const stored = ({ storage }: Session.Session): Effect.Effect<Option.Option<Entry>, StorageError> =>
  storage.load.pipe(
    Effect.map(Option.map(({ entry }) => entry)),
    Effect.catchIf(
      ({ reason }) => reason === "NoGrant",
      () => Effect.succeedNone
    )
  )

interface Kept {
  readonly before: Option.Option<Account.Account>
  readonly secret: LoginPlan.Plan["secret"]
  readonly credentials: Credentials
  readonly replace: boolean
}

/** Saves the grant of a login. Returns the other grant that it replaced, if the user allowed that. */
const keep = (
  session: Session.Session,
  { before, credentials, replace, secret }: Kept
): Effect.Effect<Option.Option<Mismatch>, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const { paths } = yield* Workspace
      const { about, account } = session
      const failed = Effect.mapError((error: Parameters<typeof Failure.fromToken>[0]) =>
        Failure.fromToken(error, about)
      )
      // It was encrypted in another way before, so it could not be compared with the existing grant.
      const moved = Option.filter(before, (b) => b.home.kind === "store" && !sameHome(b, account))
      const old = Option.isSome(moved) ? yield* Session.open(moved.value) : session
      // Before anything changes, because a refused login leaves everything as it was, including the client's
      // secret.
      const found = yield* Effect.orElseSucceed(stored(old), Option.none<Entry>)
      const other = Option.isSome(found)
        ? Option.orElse(yield* Session.mismatch(session, found.value), () =>
            GrantMismatch.compareAccounts(found.value.credentials.accountId, credentials.accountId)
          )
        : Option.none()
      if (!replace && Option.isSome(other)) return yield* refused(other.value, about)
      if (Option.isSome(moved)) yield* failed(old.storage.remove)
      if (account.clientSecret?.from === "stored" && Option.isSome(secret)) {
        yield* ClientSecret.keep(account, secret.value)
      }
      const manager = yield* Session.keeper(session)
      yield* failed(manager.save(credentials, { replace }))
      yield* Accounts.put(paths, account)
      return other
    })
  )

const refused = (other: Mismatch, about: Failure.About): Failure.Failure => {
  const { code, next, reason } = Failure.mismatch(other, about)
  const message =
    `${about.account}: ${describeMismatch(other)}. The stored grant was not changed, and the new one was not stored: ` +
    "it stays valid at the server until it expires, or until you end it there."
  return new Failure.Failure({ code, reason, message, next })
}

const notRevoked =
  "The old grant was not revoked: it stays valid at its server. To end it there, log out before the next login."

const sameHome = (a: Account.Account, b: Account.Account): boolean =>
  JSON.stringify(a.home) === JSON.stringify(b.home)

const tell = (session: Session.Session, provider: Provider.Provider, json: boolean) =>
  Effect.gen(function* () {
    const row = yield* Shown.rowOf(session)
    if (json) return yield* Output.printJson(row)
    yield* Output.say(`Logged in to ${provider.displayName}: ${Shown.sentence(row)}`)
    yield* Output.say(`A token: latchkey token ${session.about.account}`)
  })
