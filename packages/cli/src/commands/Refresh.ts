/**
 * `latchkey refresh ACCOUNT`: gets a new token now, whatever the state of the old one.
 *
 * @since 0.1.0
 */
import type { Manager } from "@latchkey/core/TokenManager"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly json: boolean
}

/**
 * Fails if there is no new token, even while the old one is still valid.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const session = yield* Session.open(yield* Session.find(options.account))
    const { about } = session
    const manager = yield* Session.manager(session, { force: true, minValidity: 0 })
    const failed = Effect.mapError((error: Parameters<typeof Failure.fromToken>[0]) =>
      Failure.fromToken(error, about)
    )
    const saving = yield* Effect.forkScoped(untilSaved(manager))
    yield* Effect.yieldNow()
    yield* failed(manager.refresh)
    const isSaving = (yield* failed(manager.status)).warnings.includes("Unsaved")
    if (isSaving) yield* Fiber.join(saving)
    const { expiresAt, warnings } = yield* failed(manager.status)
    if (warnings.includes("Unsaved")) {
      return yield* Failure.storage(
        "Unsaved",
        `${about.account} was refreshed, but the new token could not be saved.`,
        "latchkey doctor"
      )
    }
    const now = yield* Clock.currentTimeMillis
    if (options.json) {
      yield* Output.printJson({
        account: about.account,
        refreshed: true,
        expiresAt: Option.getOrNull(expiresAt)
      })
    } else {
      const until = Option.match(expiresAt, {
        onNone: () => "",
        onSome: (at) => ` It expires in ${Format.span(at - now)}.`
      })
      yield* Output.say(`${about.account} has a new token.${until}`)
    }
    return ExitCode.ok
  }).pipe(Effect.scoped)

/**
 * A refresh waits for storage for at most a second. This waits until the token is stored, or storage has
 * failed.
 */
const untilSaved = (manager: Manager): Effect.Effect<void> =>
  manager.events.pipe(
    Stream.takeUntil((event) => event._tag === "Saved" || event._tag === "SaveFailed"),
    Stream.runDrain
  )
