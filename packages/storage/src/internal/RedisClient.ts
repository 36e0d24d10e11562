/** One client as the storage and the leases use it: scripts, bounded in time, and channels. */
import type { Cluster, Redis } from "ioredis"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { bounded } from "./Bounded.js"
import { fromClient } from "./RedisProblem.js"
import { ServerProblem } from "./ServerProblem.js"

export type Client = Redis | Cluster

/** What a storage and its leases need of a server. */
export interface Connection {
  /** Where the server is, for people; without secrets. */
  readonly location: string
  /** Runs a script; a server that is away is told at once, and one that hangs when its time is over. */
  readonly run: (
    script: string,
    key: string,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<unknown, ServerProblem>
  /** Emits for each message on a channel, and when messages may have been missed. */
  readonly listen: (channel: string) => Stream.Stream<void>
  /** Emits each channel of a pattern on which there is a message, and none when messages may have been missed. */
  readonly listenAll: (pattern: string) => Stream.Stream<Option.Option<string>>
}

export const run = (client: Client, location: string, timeoutMillis: number): Connection["run"] => {
  const fails = fromClient(location)
  let lastError: unknown
  // Without a listener the client prints its errors; and each call that waits for the connection has its own.
  client.setMaxListeners(0).on("error", (error: unknown) => {
    lastError = error
  })
  const connected = Effect.async<void, ServerProblem>((resume) => {
    if (client.status === "ready") return resume(Effect.void)
    if (["reconnecting", "close", "end"].includes(client.status)) return resume(fails(lastError))
    const ignore = () => client.off("ready", onReady).off("close", onClose)
    const onReady = () => {
      ignore()
      resume(Effect.void)
    }
    const onClose = () => {
      ignore()
      resume(fails(lastError))
    }
    client.on("ready", onReady).on("close", onClose)
    return Effect.sync(ignore)
  })
  const late = () =>
    new ServerProblem({
      reason: "Unavailable",
      message: `${location} did not answer within ${timeoutMillis} ms: check whether it hangs, or try again.`
    })
  return (script, key, args) =>
    bounded(
      Effect.zipRight(
        connected,
        Effect.tryPromise({ try: () => evaluate(client, script, key, args), catch: fails })
      ),
      timeoutMillis,
      late
    )
}

/** By its digest, where the server knows it: a script is longer than what it is given. */
const evaluate = (
  client: Client,
  script: string,
  key: string,
  args: ReadonlyArray<string | number>
): Promise<unknown> =>
  client.callBuffer("evalsha", [digestOf(script), 1, key, ...args]).catch((error: unknown) => {
    // It was not run: the server does not know it, or this user may only use `eval`.
    if (!(error instanceof Error && /^(NOSCRIPT|NOPERM)/.test(error.message))) throw error
    return client.callBuffer("eval", [script, 1, key, ...args])
  })

const digests = new Map<string, string>()

const digestOf = (script: string): string => {
  const digest = digests.get(script) ?? createHash("sha1").update(script).digest("hex")
  digests.set(script, digest)
  return digest
}

/**
 * Channels over a connection of their own, made when it is first needed and renewed by the client when it is
 * lost. Each time that it is there again, messages may have been missed.
 */
export const listen = (connect: () => Client): Connection["listen"] => {
  const listeners = new Map<string, Set<() => void>>()
  const tell = (channel: string) => listeners.get(channel)?.forEach((listener) => listener())
  let open: Client | undefined
  const client = (): Client => {
    if (open !== undefined) return open
    const made = connect()
    made.on("error", () => {})
    made.on("message", (channel: string) => tell(channel))
    made.on("ready", () => [...listeners.keys()].forEach((channel) => subscribe(made, channel)))
    open = made
    return made
  }
  // One that fails is subscribed again with the next connection.
  const subscribe = (to: Client, channel: string) =>
    void to.subscribe(channel).then(
      () => tell(channel),
      () => {}
    )
  return (channel) =>
    Stream.asyncPush<void>(
      (emit) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const listener = () => void emit.single(undefined)
            listeners.set(channel, (listeners.get(channel) ?? new Set()).add(listener))
            const to = client()
            if (to.status === "ready") subscribe(to, channel)
            return listener
          }),
          (listener) =>
            Effect.sync(() => {
              const left = listeners.get(channel)
              left?.delete(listener)
              if (left?.size !== 0) return
              listeners.delete(channel)
              open?.unsubscribe(channel).catch(() => {})
            })
        ),
      { bufferSize: 1, strategy: "sliding" }
    )
}

/** All channels of a pattern, over a connection of their own, in the same way. */
export const listenAll =
  (connect: () => Client): Connection["listenAll"] =>
  (pattern) =>
    Stream.asyncPush<Option.Option<string>>(
      (emit) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const client = connect()
            client.on("error", () => {})
            client.on("pmessage", (_: string, channel: string) => emit.single(Option.some(channel)))
            const subscribe = () =>
              void client.psubscribe(pattern).then(
                () => emit.single(Option.none()),
                () => {}
              )
            client.on("ready", subscribe)
            if (client.status === "ready") subscribe()
            return client
          }),
          (client) => Effect.sync(() => client.disconnect())
        ),
      { bufferSize: "unbounded" }
    )
