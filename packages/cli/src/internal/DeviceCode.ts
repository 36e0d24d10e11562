/** Shows the code of a login on another device, and how long it is valid. */
import type { Prompt } from "@latchkey/oauth/DeviceLogin"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Format from "../Format.js"
import * as Output from "../Output.js"

/** Runs a login that shows its code with the function that it gets. The countdown ends with the login. */
export const showing = <A, E, R>(
  login: (prompt: (prompt: Prompt) => Effect.Effect<void, never, Output.Output>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Output.Output> =>
  Effect.scoped(
    Effect.flatMap(Effect.scope, (scope) =>
      login((prompt) => Effect.andThen(show(prompt), Effect.forkIn(countDown(prompt), scope)))
    )
  ).pipe(Effect.ensuring(Output.endProgress))

const show = (prompt: Prompt) =>
  Effect.gen(function* () {
    yield* Output.say(
      ...["On any device, open", "", `  ${prompt.verificationUri.href}`, ""],
      ...["and enter the code", "", `  ${prompt.userCode}`, ""]
    )
    if (Option.isSome(prompt.verificationUriComplete)) {
      yield* Output.say(
        ...["or open this address, which contains the code:", ""],
        ...[`  ${prompt.verificationUriComplete.value.href}`, ""]
      )
    }
    yield* Output.say("Waiting until you have logged in. Press Ctrl-C to give up.")
  })

const countDown = ({ expiresAt }: Prompt): Effect.Effect<never, never, Output.Output> =>
  Clock.currentTimeMillis.pipe(
    Effect.flatMap((now) => Output.progress(`The code is valid for ${Format.span(expiresAt - now)}.`)),
    Effect.andThen(Effect.sleep("1 second")),
    Effect.forever
  )
