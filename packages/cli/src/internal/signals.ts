/** Signals of this process, which are the business of one party at a time. */

type Receiver = (signal: NodeJS.Signals) => void

const receivers: Array<Receiver> = []

const receive = (signal: NodeJS.Signals): void => receivers.at(-1)?.(signal)

const taken = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** From now on signals go to `receiver` alone, until what is returned is called. */
export const take = (receiver: Receiver): (() => void) => {
  if (receivers.length === 0) for (const signal of taken) process.on(signal, receive)
  receivers.push(receiver)
  return () => {
    receivers.splice(receivers.lastIndexOf(receiver), 1)
    if (receivers.length === 0) for (const signal of taken) process.off(signal, receive)
  }
}
