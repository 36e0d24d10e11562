/**
 * One secret in the keychain of the operating system. Calls run one at a time, each off the main thread. It
 * distinguishes "locked" from "absent".
 */
import type { StorageError } from "@latchkey/core/TokenStorage"
import type { AsyncEntry } from "@napi-rs/keyring"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Fibers } from "@latchkey/core/internal-api"
import { codeOf } from "./FileProblem.js"
import { pause } from "./KernelLock.js"

/** A problem with the keychain, before it is known which operation it belongs to. */
export class KeychainProblem extends Data.TaggedError("KeychainProblem")<{
  readonly reason: StorageError["reason"]
  readonly message: string
  readonly cause?: unknown
}> {}

/** The calls on one secret. None has a time limit of its own: see {@link bounded}. */
export interface Secret {
  /** None only if the keychain is open and does not hold it. */
  readonly get: Effect.Effect<Option.Option<string>, KeychainProblem>
  readonly set: (text: string) => Effect.Effect<void, KeychainProblem>
  readonly remove: Effect.Effect<void, KeychainProblem>
}

const alternatives =
  "You can also store the credentials in a file, encrypted with a key from the configuration (`File`, `Encrypted`)."

export const tooLongAdvice =
  "Store the credentials in an encrypted file, and only its key in the keychain (`File`, `Encrypted`, " +
  "`Keyring.layerEncryptionKeys`)."

/** The binding, loaded on first use: it is an optional dependency, with a binary for each platform. */
const binding = Effect.tryPromise({
  try: () => import("@napi-rs/keyring"),
  catch: (error) =>
    new KeychainProblem({
      reason: "Unavailable",
      message:
        `The package @napi-rs/keyring did not load (${process.platform} ${process.arch}): install it, its ` +
        `optional dependencies included. ${alternatives}`,
      cause: { code: codeOf(error) }
    })
})

/**
 * Whether the keychain itself distinguishes locked from absent. The Secret Service of Linux and BSD does not:
 * it may find a locked item or not.
 */
const tellsLocked = process.platform === "darwin" || process.platform === "win32"

/**
 * The second item of a service, which holds no secret. If it can be read or written, the keychain is open.
 */
export const probeName = "latchkey: is the keychain open?"
const probeText = "This item holds no secret. Latchkey uses it to see that the keychain is open."

/** Calls nothing yet. */
export const secret = (service: string, name: string): Secret => {
  const item = open(service, name)
  const probe = open(service, probeName)
  const get = call(item, (entry) => entry.getPassword()).pipe(Effect.map(Option.fromNullable))
  const proveOpen = call(probe, async (entry) => {
    if (!(await entry.getPassword())) await entry.setPassword(probeText)
  })
  return {
    get: tellsLocked
      ? get
      : Effect.flatMap(get, (text) =>
          Option.isSome(text) ? Effect.succeed(text) : Effect.andThen(proveOpen, get)
        ),
    set: (text) => call(item, (entry) => entry.setPassword(text)),
    remove: Effect.asVoid(call(item, (entry) => entry.deletePassword()))
  }
}

/** What the client calls an entry: an item that exists or not, and a session with the service. */
interface Item {
  readonly make: Effect.Effect<() => AsyncEntry, KeychainProblem>
  made: AsyncEntry | undefined
}

/**
 * Creating an entry calls the service on the main thread, for up to two seconds if it hangs. So each entry is
 * created once. On Linux the client falls back to the kernel's keyring, which a restart erases, unless an
 * option forbids it.
 */
const open = (service: string, name: string): Item => ({
  make: Effect.map(
    binding,
    ({ AsyncEntry: Entry }) =>
      () =>
        new Entry(service, name, { linux: { store: "secret-service" } })
  ),
  made: undefined
})

/**
 * A call blocks one of the few threads that files and names also use, for as long as a prompt is open. So one
 * call runs at a time in a process, and a waiting one can be abandoned.
 */
const gate = Effect.unsafeMakeSemaphore(1)

const call = <A>(item: Item, use: (entry: AsyncEntry) => Promise<A>): Effect.Effect<A, KeychainProblem> =>
  Effect.uninterruptibleMask(() =>
    Effect.flatMap(Effect.interruptible(gate.take(1)), () =>
      Effect.ensuring(
        Effect.flatMap(item.make, (make) =>
          Effect.tryPromise({
            try: async () => {
              try {
                return await use((item.made ??= make()))
              } catch (error) {
                if (!isStale(error)) throw error
                return await use((item.made = make()))
              }
            },
            catch: problemOf
          })
        ),
        gate.release(1)
      )
    )
  )

/** The service was restarted and no longer knows the session. It did nothing. */
const isStale = (error: unknown): boolean => /session does not exist/i.test(wordsOf(error))

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : "")

/**
 * Waits for `work` no longer than this. Work that waits for its turn is then abandoned. A call that the
 * keychain has already accepted cannot be cancelled. It continues in the background, under the same locks.
 */
export const bounded = <A, E>(
  work: Effect.Effect<A, E>,
  millis: number
): Effect.Effect<A, E | KeychainProblem> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const done = yield* Deferred.make<A, E | KeychainProblem>()
      const worker = yield* Effect.forkDaemon(Effect.interruptible(Effect.intoDeferred(work, done)))
      const late = Effect.andThen(pause(millis), Deferred.fail(done, tooLate(millis)))
      const timer = yield* Effect.forkDaemon(Effect.interruptible(late))
      return yield* Effect.ensuring(
        restore(Deferred.await(done)),
        Effect.sync(() => [worker, timer].forEach((fiber) => Fibers.interrupt(fiber)))
      )
    })
  )

const tooLate = (millis: number): KeychainProblem =>
  new KeychainProblem({
    reason: "Unavailable",
    message:
      `The keychain did not answer within ${millis} ms. It may be waiting for you to unlock it: look ` +
      `for its prompt, unlock it and try again. ${alternatives}`
  })

const unlock =
  process.platform === "darwin"
    ? "unlock it (security unlock-keychain), or allow this program to use it, and try again"
    : process.platform === "win32"
      ? "run where the user is logged in, and try again"
      : "unlock it (log in to the desktop, or run: gnome-keyring-daemon --replace --unlock) and try again"

/**
 * The client has one code for all failures, so its words must be read. They are not passed on.
 * `no result found` comes from a service that has no default collection, or cannot ask for its password.
 */
const problemOf = (error: unknown): KeychainProblem => {
  const said = wordsOf(error)
  const cause = { code: codeOf(error) }
  if (/D-?Bus|secret service provider/i.test(said)) {
    return new KeychainProblem({
      reason: "Unavailable",
      message: /did not receive a reply/i.test(said)
        ? `The keychain (Secret Service) does not answer: check whether its service hangs, and try again. ${alternatives}`
        : `No keychain can be reached here: no Secret Service answers on the session bus of this user. ${alternatives}`,
      cause
    })
  }
  if (/no result found/i.test(said)) {
    return new KeychainProblem({
      reason: "Denied",
      message: `The keychain is locked, or was never set up: ${unlock}. ${alternatives}`,
      cause
    })
  }
  if (/couldn't access platform storage|locked|dismissed/i.test(said)) {
    return new KeychainProblem({
      reason: "Denied",
      message: `The keychain is locked: ${unlock}. ${alternatives}`,
      cause
    })
  }
  if (/longer than the platform limit/i.test(said)) {
    return new KeychainProblem({
      reason: "Denied",
      message: `The keychain does not accept a value of this length. ${tooLongAdvice}`,
      cause
    })
  }
  if (/matched by \d+ credentials/i.test(said)) {
    return new KeychainProblem({
      reason: "Malformed",
      message: "The keychain has several items of this name: remove those that another program made.",
      cause
    })
  }
  return new KeychainProblem({
    reason: "Unavailable",
    message: `The keychain failed for an unknown reason; try again. ${alternatives}`,
    cause
  })
}
