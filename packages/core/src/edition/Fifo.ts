/** A FIFO queue. */
import * as MutableQueue from "effect/MutableQueue"

export interface Fifo<A> {
  readonly offer: (value: A) => void
  readonly poll: () => A | undefined
}

export const make = <A>(): Fifo<A> => {
  const queue = MutableQueue.unbounded<A>()
  return {
    offer: (value) => void MutableQueue.offer(queue, value),
    poll: () => MutableQueue.poll(queue, undefined)
  }
}
