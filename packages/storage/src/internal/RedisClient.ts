/** A client in the form that the storage and the leases use: scripts with a time limit, and channels. */
import type { Cluster, Redis } from "ioredis"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { Streams } from "@latchkey/core/internal-api"
import { createHash } from "node:crypto"
import { bounded } from "./Bounded.js"
import { fromClient } from "./RedisProblem.js"
import { ServerProblem } from "./ServerProblem.js"

export type Client = Redis | Cluster

/** What a storage and its leases need of a server. */
export interface Connection {
  /** Where the server is, for people, without secrets. */
  readonly location: string
  /** Runs a script. Fails at once if the server is down, and after the time-out if it hangs. */
  readonly run: (
    script: string,
    key: string,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<unknown, ServerProblem>
  /** Emits for each message on a channel, and when messages may have been missed. */
  readonly listen: (channel: string) => Stream.Stream<void>
  /** Emits each channel of a pattern that has a message, and none when messages may have been missed. */
  readonly listenAll: (pattern: string) => Stream.Stream<Option.Option<string>>
}

export const run = (client: Client, location: string, timeoutMillis: number): Connection["run"] => {
  const fails = fromClient(location)
  let lastError: unknown
  // Without a listener the client prints its errors. Each call that waits for the connection adds its own
  // listener.
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
      Effect.andThen(
        connected,
        Effect.tryPromise({ try: () => evaluate(client, script, key, args), catch: fails })
      ),
      timeoutMillis,
      late
    )
}

/** By its digest, if the server has it, because a script is longer than its arguments. */
const evaluate = (
  client: Client,
  script: string,
  key: string,
  args: ReadonlyArray<string | number>
): Promise<unknown> =>
  client.callBuffer("evalsha", [digestOf(script), 1, key, ...args]).catch((error: unknown) => {
    // It did not run: the server does not have it, or this user may only use `eval`.
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
 * Channels over a separate connection, which is opened on first use and which the client reopens when it is
 * lost. After each reconnection, messages may have been missed.
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
  // A failed subscription is repeated with the next connection.
  const subscribe = (to: Client, channel: string) =>
    void to.subscribe(channel).then(
      () => tell(channel),
      () => {}
    )
  return (channel) =>
    Streams.fromCallbacks<void>("newest", (emit) =>
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
      )
    )
}

/** All channels of a pattern, over a separate connection, in the same way. */
export const listenAll =
  (connect: () => Client): Connection["listenAll"] =>
  (pattern) =>
    Streams.fromCallbacks<Option.Option<string>>("newest", (emit) =>
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
      )
    )
