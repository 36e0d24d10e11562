/**
 * `latchkey login PROVIDER`: the first grant of an account, or a new one in the place of the old.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
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
 * What is asked for on the command line.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends LoginPlan.Asked {
  readonly provider: string
  readonly account: string
  /** How long the browser may take, in milliseconds. */
  readonly patience: Option.Option<number>
  readonly json: boolean
}

/**
 * What was there is replaced only once the login has succeeded.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { paths } = yield* Workspace
    const name = yield* Account.checkName(options.account)
    const id = { provider: options.provider, name }
    const before = yield* Accounts.get(paths, id)
    yield* Accounts.checkCase(paths, id)
    const plan = yield* LoginPlan.make(id, before, options)
    const { account, provider, secret, warning, way } = plan
    const session = yield* Session.open(account)
    yield* checkReplaceable(session)
    if (warning !== undefined) yield* Output.say(warning)
    const credentials = yield* LoginWays.run(provider, way, {
      scopes: plan.scopes,
      account: name,
      patience: Option.getOrUndefined(options.patience)
    })
    yield* keep(session, before, secret, credentials)
    yield* tell(session, provider, options.json)
    return ExitCode.ok
  }).pipe(Effect.scoped)

/** A login is long, and its code is good once: what stands in the way of keeping it is found before. */
const checkReplaceable = ({ about, storage }: Session.Session): Effect.Effect<void, Failure.Failure> =>
  Effect.catchIf(
    storage.load,
    ({ reason }) => reason === "NoGrant",
    () => Effect.void
  ).pipe(
    Effect.mapError((error) => {
      const failure = Failure.fromToken(error, about)
      return error.reason === "Malformed" || error.reason === "WrongKey" || error.reason === "Insecure"
        ? Failure.storage(
            failure.reason,
            failure.message,
            `latchkey logout ${about.account} --local, then log in`
          )
        : failure
    })
  )

const keep = (
  session: Session.Session,
  before: Option.Option<Account.Account>,
  secret: LoginPlan.Plan["secret"],
  credentials: Credentials
): Effect.Effect<void, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const { paths } = yield* Workspace
    const { about, account } = session
    yield* Effect.uninterruptible(
      Effect.gen(function* () {
        // Encrypted in another way than before, it could not be compared with what is there.
        if (Option.exists(before, (b) => b.home.kind === "store" && !sameHome(b, account))) {
          yield* Effect.flatMap(Session.open(Option.getOrThrow(before)), (old) =>
            Effect.mapError(old.storage.remove, (error) => Failure.fromToken(error, about))
          )
        }
        if (account.clientSecret?.from === "stored" && Option.isSome(secret)) {
          yield* ClientSecret.keep(account, secret.value)
        }
        const manager = yield* Session.keeper(session)
        yield* Effect.mapError(manager.save(credentials), (error) => Failure.fromToken(error, about))
        yield* Accounts.put(paths, account)
      })
    )
  })

const sameHome = (a: Account.Account, b: Account.Account): boolean =>
  JSON.stringify(a.home) === JSON.stringify(b.home)

const tell = (session: Session.Session, provider: Provider.Provider, json: boolean) =>
  Effect.gen(function* () {
    const row = yield* Shown.rowOf(session)
    if (json) return yield* Output.printJson(row)
    yield* Output.say(`Logged in to ${provider.displayName}: ${Shown.sentence(row)}`)
    yield* Output.say(`A token: latchkey token ${session.about.account}`)
  })
