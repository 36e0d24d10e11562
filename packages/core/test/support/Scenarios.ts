/** Canaries through every operation of a manager, in every world of the manager's tests. */
import { Effect } from "effect"
import { bench, minute } from "./Bench.js"
import { everything, secretGrant, worlds } from "./Everything.js"
import type { Canaries, Scenario } from "./Canaries.js"
import * as Edition from "./Edition.js"

export const scenarios = (canaries: Canaries): ReadonlyArray<Scenario> => {
  const take = () => canaries.take()
  return Object.entries(worlds(take)).map(([name, setup]) => ({
    name: `core, ${name}`,
    play: Effect.gen(function* () {
      const { manager } = yield* bench({ ...setup, initial: secretGrant(take, 10 * minute) })
      return yield* everything(manager, secretGrant(take, minute))
    }).pipe(Effect.scoped, Effect.provide(Edition.testServices))
  }))
}
