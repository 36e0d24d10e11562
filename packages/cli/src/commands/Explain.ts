/**
 * `latchkey explain ACCOUNT`: shows what a request for a token would do now, and why.
 *
 * @since 0.1.0
 */
import type { Warning } from "@latchkey/core/AuthStatus"
import * as Decision from "@latchkey/core/Decision"
import * as Entry from "@latchkey/core/Entry"
import { BackOff } from "@latchkey/core/internal-api"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import * as Report from "../Report.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import * as Shown from "./Shown.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly json: boolean
}

/**
 * Sends nothing, and changes nothing.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const session = yield* Session.open(yield* Session.find(options.account))
    const { about, account, storage } = session
    const failed = Effect.mapError((error: Parameters<typeof Failure.fromToken>[0]) =>
      Failure.fromToken(error, about)
    )
    const entry = Option.map(yield* failed(storage.load), (loaded) => loaded.entry)
    const manager = yield* Session.observer(session)
    yield* failed(manager.status)
    const { decision: next, ifUnchanged, status } = yield* manager.explain
    // Storage was just read. Reading again would not change the identity of a grant.
    const decision = Option.getOrElse(
      Option.filter(ifUnchanged, ({ _tag }) => _tag === "Refuse"),
      () => next
    )
    const now = yield* Clock.currentTimeMillis
    // The manager would read a missing grant again, and then only this is left to do.
    const text =
      decision._tag === "Reload" && Option.isNone(entry) && account.grant === "refresh"
        ? "log in: there are no credentials yet"
        : Decision.describe(decision, now)
    const row = yield* Shown.rowWith(session, entry)
    if (options.json) {
      const reason = "reason" in decision ? decision.reason : null
      yield* Output.printJson({ ...row, decision: decision._tag, reason, text, warnings: status.warnings })
      return ExitCode.ok
    }
    for (const line of words(row, text, entry, now, status.warnings)) yield* Output.print(Output.escape(line))
    if (row.state === "mismatch") yield* Output.say(`next: ${Failure.mismatchAdvice(about)}`)
    else if (!Report.isUsable(row.state)) yield* Output.say(`next: ${about.login}`)
    return ExitCode.ok
  }).pipe(Effect.scoped)

const words = (
  row: Report.Row,
  text: string,
  entry: Option.Option<Entry.Entry>,
  now: number,
  warnings: ReadonlyArray<Warning>
): ReadonlyArray<string> => {
  const facts: ReadonlyArray<readonly [string, string | undefined]> = [
    ["account", row.accountId === null ? row.id : `${row.id} (${row.accountId})`],
    ["asked now", text],
    ["state", row.state],
    ["expires", expires(row.expiresAt, now)],
    ["scopes", row.scopes.length === 0 ? undefined : row.scopes.join(" ")],
    ["storage", Report.place(row)],
    ["written", Option.getOrUndefined(Option.map(entry, written))],
    ["unanswered", Option.getOrUndefined(Option.flatMap(entry, (e) => unanswered(e, now)))],
    ["waits", Option.getOrUndefined(Option.flatMap(entry, (e) => waits(e, now)))],
    ["ended", Option.getOrUndefined(Option.flatMap(entry, ended))],
    // The text above already describes a grant that is not used, with both sides.
    ...warnings
      .filter((warning) => warning !== "GrantMismatch")
      .map((warning) => ["warning", warningWords[warning]] as const)
  ]
  return facts.flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(11)} ${value}`]))
}

const warningWords: Readonly<Record<Exclude<Warning, "GrantMismatch">, string>> = {
  Unsaved: "the newest token is not saved yet: repair the storage",
  GrantDead: "the server has ended the grant: this token is the last one",
  CoolingDown: "nothing is sent for now, because a refresh failed or the server asked to wait",
  GraceClamped:
    "the token's lifetime is shorter than the refresh grace: it is renewed when half of its life is left"
}

const expires = (at: number | null, now: number): string | undefined =>
  at === null ? undefined : at > now ? `in ${Format.span(at - now)}` : `${Format.span(now - at)} ago`

const written = ({ family, fence, generation }: Entry.Entry): string =>
  `generation ${generation} of grant ${family}${fence === 0 ? "" : `, fence ${fence}`}`

const unanswered = ({ credentials, intent }: Entry.Entry, now: number): Option.Option<string> =>
  Option.filterMap(intent, (i) =>
    i.fingerprint === Entry.grantFingerprint(credentials)
      ? Option.some(
          `a refresh sent ${Format.span(now - i.at)} ago, whose answer never came (attempt ${i.attempt})`
        )
      : Option.none()
  )

const waits = ({ serverWait }: Entry.Entry, now: number): Option.Option<string> =>
  Option.map(
    BackOff.cooling({ coolDown: Option.none(), serverWait }, now),
    ({ until }) => `the server asked to wait: nothing is sent for ${Format.span(until - now)}`
  )

const ended = ({ credentials, dead }: Entry.Entry): Option.Option<string> =>
  Option.filterMap(dead, (d) =>
    d.fingerprint === Entry.grantFingerprint(credentials)
      ? Option.some(`the server refused the refresh token: ${d.reason}`)
      : Option.none()
  )
