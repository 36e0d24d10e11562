/** Tells those who listen to a sliding hub; who is too far behind misses the oldest. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"

/** `unsafeOffer` alone would drop the newest. Nothing happens where the hub is shut down. */
export const tell = <A>(hub: PubSub.PubSub<A>, value: A): Effect.Effect<void> =>
  hub.unsafeOffer(value)
    ? Effect.void
    : Effect.flatMap(PubSub.isShutdown(hub), (isShut) =>
        isShut ? Effect.void : Effect.asVoid(PubSub.publish(hub, value))
      )
