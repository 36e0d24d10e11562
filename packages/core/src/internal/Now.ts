/** The time of a fiber, in the fewest steps. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as DefaultServices from "effect/DefaultServices"
import type * as Fiber from "effect/Fiber"

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
