/**
 * The door for code that is not written in Effect: tokens as `Promise<string>`.
 *
 * A token that is fresh is answered without a fiber, from a promise that is resolved already. Whatever
 * fails rejects with an `Error`: the `TokenError` itself, which has its class and its `_tag`, and where a layer or a
 * defect failed with something else, such as a `ConfigError`, an `Error` that has its text and carries it as `cause`.
 *
 * Tokens leave here in clear: hand them to the client that needs them, and log the door, not what it gave.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import type { AuthStatus } from "./AuthStatus.js"
import type { Credentials } from "./Credentials.js"
import { type Manager, type SaveOptions, TokenManager } from "./TokenManager.js"

/**
 * Gives up waiting when the signal fires: the promise rejects with the signal's reason, as that of `fetch`
 * does. A refresh under way goes on, for it may have spent a refresh token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Abortable {
  readonly signal?: AbortSignal | undefined
}

/**
 * A manager for those who await promises; see `TokenManager.Manager` for what each member does.
 *
 * @since 0.1.0
 * @category models
 */
export interface Door {
  /** Where the grant is kept. */
  readonly location: string
  /** A token that is valid now, or for at least `minValidity`. */
  readonly getAccessToken: (
    options?: Abortable & { readonly minValidity?: Duration.DurationInput | undefined }
  ) => Promise<string>
  /** The token in memory if it can be served without a thought: no promise, no I/O. */
  readonly peekAccessToken: () => string | undefined
  /** A resource server answered 401 to this token: a new one, refreshed only if it is still the current one. */
  readonly reject: (token: string, options?: Abortable) => Promise<string>
  /** A new token in any case. */
  readonly refresh: (options?: Abortable) => Promise<string>
  /** Stores the credentials of a login; over a grant of another identity or account only where asked to. */
  readonly save: (credentials: Credentials, options?: SaveOptions) => Promise<void>
  /** Removes the grant; whether there was one. */
  readonly clear: () => Promise<boolean>
  readonly status: () => Promise<AuthStatus>
}

/**
 * A door that owns what is behind it.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnDoor extends Door {
  /** Waits for a refresh under way and what it has to save, then releases everything. Once is enough. */
  readonly close: () => Promise<void>
}

/**
 * A door to a manager. It is open for as long as the manager's scope is.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (manager: Manager): Effect.Effect<Door> =>
  Effect.map(Effect.runtime(), (runtime) => doorOf(manager, runtime))

/**
 * A door to a manager of a runtime that the program has already. For one of several managers give its tag.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromRuntime: {
  <R, E>(runtime: ManagedRuntime.ManagedRuntime<R | TokenManager, E>): Promise<Door>
  <Self, R, E>(
    runtime: ManagedRuntime.ManagedRuntime<R | Self, E>,
    tag: Context.Tag<Self, Manager>
  ): Promise<Door>
} = async <Self, R, E>(
  managed: ManagedRuntime.ManagedRuntime<R | Self | TokenManager, E>,
  tag?: Context.Tag<Self, Manager>
): Promise<Door> => {
  const found: Effect.Effect<Manager, never, Self | TokenManager> = tag ?? TokenManager
  return unwrap(
    await managed.runPromiseExit(
      Effect.flatMap(found, (manager) => Effect.map(Effect.runtime(), (r) => doorOf(manager, r)))
    )
  )
}

/**
 * Builds the layer and opens a door to its manager: all that a program needs that knows nothing of Effect.
 * Where the layer cannot be built, rejects with its error; one that is no `Error`, such as a `ConfigError`, is the
 * `cause` of the `Error` that it rejects with. `close` it at the end of the program.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = async <E>(layer: Layer.Layer<TokenManager, E>): Promise<OwnDoor> => {
  const runtime = ManagedRuntime.make(layer)
  try {
    const door = await fromRuntime(runtime)
    return { ...door, close: () => runtime.dispose() }
  } catch (error) {
    // Why the layer could not be built matters more than what went wrong after that.
    await runtime.dispose().catch(() => undefined)
    throw error
  }
}

const doorOf = (manager: Manager, runtime: Runtime.Runtime<never>): Door => {
  const runFork = Runtime.runFork(runtime)
  const runExit = Runtime.runPromiseExit(runtime)
  const run = <A, E, B>(effect: Effect.Effect<A, E>, as: (value: A) => B): Promise<B> =>
    outcome(runFork(effect), as)
  const runUnless = async <A, E>(effect: Effect.Effect<A, E>, signal: AbortSignal): Promise<A> => {
    signal.throwIfAborted()
    const exit = await runExit(effect, { signal })
    if (Exit.isFailure(exit)) signal.throwIfAborted()
    return unwrap(exit)
  }
  const clear = (effect: Effect.Effect<Redacted.Redacted, unknown>, signal?: AbortSignal) =>
    signal === undefined
      ? run(effect, Redacted.value)
      : runUnless(effect, signal).then((token) => Redacted.value(token))

  // One promise for all who come while it is pending: they ask the same, and are answered by what is true at its end.
  let pending: Promise<string> | undefined
  const together = (): Promise<string> => {
    if (pending !== undefined) return pending
    const fiber = runFork(manager.getAccessToken)
    const shared = outcome(fiber, Redacted.value)
    pending = shared
    fiber.addObserver(() => {
      if (pending === shared) pending = undefined
    })
    return shared
  }
  /** Who asks after a change is not answered with those who asked before it. */
  const apart = <A>(ask: () => Promise<A>): Promise<A> => {
    pending = undefined
    return ask()
  }

  // One promise for as long as the token is the same: nothing is made on the way to a fresh one.
  let known: Redacted.Redacted | undefined
  let answer: Promise<string> = Promise.resolve("")
  const getAccessToken: Door["getAccessToken"] = (options) => {
    const minValidity = options?.minValidity
    if (minValidity !== undefined) {
      return clear(manager.getAccessTokenFor({ minValidity }), options?.signal)
    }
    const fresh = manager.unsafePeek()
    if (fresh._tag === "None" || options?.signal?.aborted) {
      return options?.signal === undefined ? together() : clear(manager.getAccessToken, options.signal)
    }
    if (fresh.value !== known) {
      known = fresh.value
      answer = Promise.resolve(Redacted.value(fresh.value))
    }
    return answer
  }
  return {
    location: manager.location,
    getAccessToken,
    peekAccessToken: () => Option.getOrUndefined(Option.map(manager.unsafePeek(), Redacted.value)),
    reject: (token, options) => apart(() => clear(manager.reject(Redacted.make(token)), options?.signal)),
    refresh: (options) => apart(() => clear(manager.refresh, options?.signal)),
    save: (credentials, options) => apart(() => run(manager.save(credentials, options), identity)),
    clear: () => apart(() => run(manager.clear, identity)),
    status: () => run(manager.status, identity)
  }
}

/** What came of a fiber, as one promise and no more. */
const outcome = <A, E, B>(fiber: Fiber.RuntimeFiber<A, E>, as: (value: A) => B): Promise<B> =>
  new Promise<B>((resolve, reject) => {
    fiber.addObserver((exit) => {
      if (Exit.isSuccess(exit)) resolve(as(exit.value))
      else reject(errorOf(exit.cause))
    })
  })

/** The failure as an `Error`: itself where it is one, so that its class can be asked for. */
const errorOf = (cause: Cause.Cause<unknown>): Error => {
  if (Cause.isInterruptedOnly(cause)) return new Error("It was interrupted: the manager is closed or closing")
  const failure = Cause.squash(cause)
  if (failure instanceof Error) return failure
  const error = new Error(messageOf(failure), { cause: failure })
  const name = nameOf(failure)
  if (name !== undefined) Object.defineProperty(error, "name", { value: name, configurable: true })
  return error
}

const nameOf = (failure: unknown): string | undefined => {
  if (ConfigError.isConfigError(failure)) return "ConfigError"
  return Predicate.hasProperty(failure, "_tag") && typeof failure._tag === "string" ? failure._tag : undefined
}

/** Only what is meant as a text is quoted: any other value may hold a secret. */
const messageOf = (failure: unknown): string => {
  if (ConfigError.isConfigError(failure)) return String(failure)
  if (typeof failure === "string" && failure !== "") return failure
  return Predicate.hasProperty(failure, "message") && typeof failure.message === "string"
    ? failure.message
    : "It failed with a value that is no Error: see the cause"
}

/** The value, or the failure thrown. */
const unwrap = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw errorOf(exit.cause)
}
