/** A FIFO queue. */
import * as MutableList from "effect/MutableList"

export interface Fifo<A> {
  readonly offer: (value: A) => void
  readonly poll: () => A | undefined
}

export const make = <A>(): Fifo<A> => {
  const list = MutableList.make<A>()
  return {
    offer: (value) => MutableList.append(list, value),
    poll: () => {
      const taken = MutableList.take(list)
      return taken === MutableList.Empty ? undefined : taken
    }
  }
}
