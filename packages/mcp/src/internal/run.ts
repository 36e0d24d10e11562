/** Runs effects for callers without Effect. */
import { Fibers } from "@latchkey/core/internal-api"
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** Rejects with the failure itself. If the signal aborts, it interrupts the effect and rejects with the signal's reason. */
export type Run = <A, E>(effect: Effect.Effect<A, E>, signal?: AbortSignal | null) => Promise<A>

export const make = (running: Fibers.Running): Run => {
  const runExit = Fibers.runPromiseExit(running)
  return async (effect, signal) => {
    signal?.throwIfAborted()
    const exit = await runExit(effect, signal == null ? {} : { signal })
    if (Exit.isSuccess(exit)) return exit.value
    signal?.throwIfAborted()
    throw errorOf(exit.cause)
  }
}

/** Returns the failure if it is an `Error`. Any other value may contain a secret, so the message does not quote it. */
export const errorOf = (cause: Cause.Cause<unknown>): Error => {
  if (Cause.isInterruptedOnly(cause))
    return new Error("The call was interrupted: the login is closed or closing")
  const failure = Cause.squash(cause)
  return failure instanceof Error
    ? failure
    : new Error("The call failed with a value that is not an Error: see the cause", { cause: failure })
}
