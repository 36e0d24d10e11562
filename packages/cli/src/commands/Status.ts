/**
 * `latchkey status [ACCOUNT]` and `latchkey list`: show the accounts and whether they work. They refresh
 * nothing. `--web` shows them as a page.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Account } from "../Account.js"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Output from "../Output.js"
import * as Report from "../Report.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import * as Shown from "./Shown.js"
import { watch } from "./Watch.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: Option.Option<string>
  readonly json: boolean
  readonly watch: boolean
  /** Whether to serve a page. Default: no. */
  readonly web?: boolean | undefined
}

/**
 * With `web`, it serves until it is interrupted. Otherwise it ends with 0 only if every account is valid or can be refreshed.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> => {
  if (options.web === true) {
    return options.watch
      ? Failure.usage("--web was given with --watch.", "give only one of both")
      : Effect.flatMap(
          Effect.promise(() => import("./StatusWeb.js")),
          (page) => page.run(options)
        )
  }
  const look = report(options.account)
  return options.watch
    ? watch(look, options.json)
    : Effect.flatMap(look, (found) => Effect.as(show(found, options.json), codeOf(found)))
}

/**
 * @since 0.1.0
 * @category getters
 */
export const codeOf = ({ broken, rows }: Report.Found): ExitCode => {
  if (broken.length > 0 || rows.some(({ state }) => state === "unreadable")) return ExitCode.storage
  if (rows.some(({ state }) => state === "mismatch")) return ExitCode.configuration
  return rows.length > 0 && rows.every(({ state }) => Report.isUsable(state))
    ? ExitCode.ok
    : ExitCode.loginRequired
}

const report = (account: Option.Option<string>): Effect.Effect<Report.Found, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { accounts, broken } = Option.isSome(account)
      ? { accounts: [yield* Session.find(account.value)], broken: [] }
      : yield* Session.all
    return { rows: yield* Effect.forEach(accounts, (one) => Effect.scoped(rowOf(one))), broken }
  })

const rowOf = (account: Account) =>
  Effect.gen(function* () {
    const session = yield* Effect.either(Session.open(account))
    if (Either.isLeft(session)) {
      return Report.unreadable(account, yield* Session.placeOf(account), session.left)
    }
    const row = yield* Effect.either(Shown.rowOf(session.right))
    return Either.isRight(row) ? row.right : Report.unreadable(account, session.right.place, row.left)
  })

const show = (found: Report.Found, json: boolean): Effect.Effect<void, never, Output.Output> =>
  Effect.gen(function* () {
    const { rows, broken } = found
    if (json) {
      return yield* Output.printJson({
        accounts: rows,
        broken: broken.map(({ message, reason }) => ({ reason, message }))
      })
    }
    const { stdout } = yield* Output.Output
    const now = yield* Clock.currentTimeMillis
    for (const line of Report.lines(found, now, stdout)) yield* Output.print(line)
    if (rows.length + broken.length === 0) {
      yield* Output.say("There are no accounts yet. Log in to one: latchkey login PROVIDER")
    }
  })
