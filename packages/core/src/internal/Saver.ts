/** Brings a rotation that storage did not take to storage after all: in the scope's life, and at its end. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type Parts, saveUnsaved } from "./RefreshTransaction.js"

export interface Saver {
  /** Tries again behind, with growing pauses, until nothing is unsaved; does nothing if nothing is. */
  readonly ensureSaved: Effect.Effect<void>
}

export const make = (parts: Parts): Effect.Effect<Saver, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { account, config, lease, state } = parts
    const scope = yield* Effect.scope
    const underOldLease = Effect.suspend(() =>
      saveUnsaved(parts, Option.match(state.unsaved, { onNone: () => 0, onSome: (u) => u.entry.fence }))
    )
    const underNewLease = Effect.scoped(
      Effect.flatMap(lease.acquire(account, config.leaseTtl), ({ fence }) => saveUnsaved(parts, fence))
    )
    const trySave = Effect.ignore(Effect.orElse(underOldLease, () => underNewLease))

    let running = false
    const loop = Effect.gen(function* () {
      for (let pause = config.coolDownBase; Option.isSome(state.unsaved); pause *= 2) {
        yield* Effect.sleep(Math.min(pause, config.coolDownMax))
        yield* trySave
      }
    }).pipe(Effect.ensuring(Effect.sync(() => (running = false))))

    yield* Effect.addFinalizer(() => Effect.when(trySave, () => Option.isSome(state.unsaved)))
    return {
      ensureSaved: Effect.suspend(() => {
        if (running || Option.isNone(state.unsaved)) return Effect.void
        running = true
        // It may be started from where nothing can be interrupted, and would inherit that.
        return Effect.asVoid(Effect.forkIn(Effect.interruptible(loop), scope))
      })
    }
  })
