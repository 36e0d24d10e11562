import { Effect } from "effect"

/** Checks repeatedly until the condition holds. */
export const until = <A, E, R>(look: Effect.Effect<A, E, R>, isSo: (seen: A) => boolean) => {
  const again: Effect.Effect<A, E, R> = Effect.flatMap(look, (seen) =>
    isSo(seen) ? Effect.succeed(seen) : Effect.delay(again, "20 millis")
  )
  return Effect.timeout(again, "4 minutes")
}
