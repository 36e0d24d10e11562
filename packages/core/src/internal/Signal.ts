/** Tells those who wait that something may have changed: a number and nothing else while nobody waits. */
import * as Effect from "effect/Effect"

export class Signal {
  /** How often it was raised; to wait for what comes after it. */
  count = 0
  private waiting: Set<() => void> | undefined = undefined

  raise(): void {
    this.count++
    const woken = this.waiting
    this.waiting = undefined
    woken?.forEach((wake) => wake())
  }

  /** Ends once it was raised more often than `seen`: at once, if it was in the meantime. */
  after(seen: number): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (this.count !== seen) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      const waiting = (this.waiting ??= new Set())
      waiting.add(wake)
      return Effect.sync(() => void waiting.delete(wake))
    })
  }
}
