/**
 * One secret in the keychain of the operating system: its calls one at a time, each off the main thread,
 * "locked" told apart from "absent".
 */
import type { StorageError } from "@latchkey/core/TokenStorage"
import type { AsyncEntry } from "@napi-rs/keyring"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { codeOf } from "./FileProblem.js"
import { pause } from "./KernelLock.js"

/** What went wrong with the keychain, before it is known for which operation. */
export class KeychainProblem extends Data.TaggedError("KeychainProblem")<{
  readonly reason: StorageError["reason"]
  readonly message: string
  readonly cause?: unknown
}> {}

/** The calls on one secret. None has a limit of its own: see {@link bounded}. */
export interface Secret {
  /** None only where the keychain is open and has it not. */
  readonly get: Effect.Effect<Option.Option<string>, KeychainProblem>
  readonly set: (text: string) => Effect.Effect<void, KeychainProblem>
  readonly remove: Effect.Effect<void, KeychainProblem>
}

const alternatives =
  "Or store the credentials in a file, encrypted with a key from the configuration (`File`, `Encrypted`)."

export const tooLongAdvice =
  "Store the credentials in an encrypted file, and only its key in the keychain (`File`, `Encrypted`, " +
  "`Keyring.layerEncryptionKeys`)."

/** The binding, loaded when first needed: it is an optional dependency, with a binary for each platform. */
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
 * Whether the keychain itself tells locked from absent. The Secret Service of Linux and BSD does not: what
 * is locked may be found or not, as the service pleases.
 */
const tellsLocked = process.platform === "darwin" || process.platform === "win32"

/**
 * The other item of a service, which holds no secret: where it can be read or written, the keychain is open.
 */
export const probeName = "latchkey: is the keychain open?"
const probeText = "This item holds no secret. Latchkey uses it to see that the keychain is open."

/** Nothing is called yet. */
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
          Option.isSome(text) ? Effect.succeed(text) : Effect.zipRight(proveOpen, get)
        ),
    set: (text) => call(item, (entry) => entry.setPassword(text)),
    remove: Effect.asVoid(call(item, (entry) => entry.deletePassword()))
  }
}

/** What the client calls an entry: an item that is there or not, and a session with the service. */
interface Item {
  readonly make: Effect.Effect<() => AsyncEntry, KeychainProblem>
  made: AsyncEntry | undefined
}

/**
 * Making an entry asks the service, on the main thread and for up to two seconds where it hangs: each is
 * made once. On Linux the client falls back to the kernel's keyring unless told not to, which forgets all
 * when the machine restarts.
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
 * A call blocks one of the few threads that files and names are also served from, for as long as a prompt
 * is open. So there is one at a time in a process, and one that is waiting can be given up.
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

/** The service was restarted and knows the session no more: it has done nothing for it. */
const isStale = (error: unknown): boolean => /session does not exist/i.test(wordsOf(error))

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : "")

/**
 * Waits for `work` no longer than this. What is waiting for its turn is then given up; a call that the
 * keychain has already taken cannot be, and goes on behind, with the locks that it is under.
 */
export const bounded = <A, E>(
  work: Effect.Effect<A, E>,
  millis: number
): Effect.Effect<A, E | KeychainProblem> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const done = yield* Deferred.make<A, E | KeychainProblem>()
      const worker = yield* Effect.forkDaemon(Effect.interruptible(Effect.intoDeferred(work, done)))
      const late = Effect.zipRight(pause(millis), Deferred.fail(done, tooLate(millis)))
      const timer = yield* Effect.forkDaemon(Effect.interruptible(late))
      return yield* Effect.ensuring(
        restore(Deferred.await(done)),
        Effect.zipRight(Fiber.interruptFork(worker), Fiber.interruptFork(timer))
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
 * The client has one code for all failures, so its words must do; they are not passed on. `no result
 * found` is what a service says that has no default collection, or cannot ask for its password.
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
