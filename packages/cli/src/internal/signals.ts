/** The signals of this process. One receiver at a time handles them. */

type Receiver = (signal: NodeJS.Signals) => void

const receivers: Array<Receiver> = []

const receive = (signal: NodeJS.Signals): void => receivers.at(-1)?.(signal)

const taken = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** Sends signals only to `receiver`, until the returned function is called. */
export const take = (receiver: Receiver): (() => void) => {
  if (receivers.length === 0) for (const signal of taken) process.on(signal, receive)
  receivers.push(receiver)
  return () => {
    receivers.splice(receivers.lastIndexOf(receiver), 1)
    if (receivers.length === 0) for (const signal of taken) process.off(signal, receive)
  }
}
