/** The time of a fiber, and all that it runs with, in the fewest steps. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import type * as Fiber from "effect/Fiber"
import type * as RuntimeFlags from "effect/RuntimeFlags"
import * as Runtime from "effect/Runtime"

let services: Context.Context<DefaultServices.DefaultServices> | undefined
let clock: Clock.Clock

/**
 * In epoch milliseconds, by the clock of the fiber. Fibers share their services, so that the clock is seldom
 * looked up again: that is a tenth of what a fresh token costs.
 */
export const nowOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number => {
  if (fiber.currentDefaultServices !== services) {
    services = fiber.currentDefaultServices
    clock = Context.get(services, Clock.Clock)
  }
  return clock.unsafeCurrentTimeMillis()
}

/** The clock of programs that give none: that of the system, and of JavaScript's timers. */
export const liveClock: Clock.Clock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** What others can be started with to run as the fiber does: `Effect.runtime`, for who has the fiber already. */
export const runtimeOf = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  runtimeFlags: RuntimeFlags.RuntimeFlags
): Runtime.Runtime<never> =>
  Runtime.make({ context: fiber.currentContext, fiberRefs: fiber.getFiberRefs(), runtimeFlags })
