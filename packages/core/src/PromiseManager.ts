/**
 * Tokens as `Promise<string>`, for code that does not use Effect.
 *
 * A fresh token needs no fiber: its promise is already resolved. A failure rejects with an `Error`: the
 * `TokenError` itself, or an `Error` whose `cause` is the failure of a layer or a defect, such as a
 * `ConfigError`.
 *
 * Tokens are returned in clear text. Pass them to the client that needs them, and do not log them.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Fibers from "./edition/Fibers.js"
import * as Problems from "./edition/Problems.js"
import type { AuthStatus } from "./AuthStatus.js"
import type { Credentials } from "./Credentials.js"
import { type Manager, type SaveOptions, TokenManager } from "./TokenManager.js"

/**
 * Stops waiting when the signal fires. The promise then rejects with the signal's reason, like that of
 * `fetch`. A refresh that is running goes on, because it may have spent a refresh token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Abortable {
  readonly signal?: AbortSignal | undefined
}

/**
 * A manager with promises. See `TokenManager.Manager` for what each member does.
 *
 * @since 0.1.0
 * @category models
 */
export interface PromiseManager {
  /** Where the grant is stored. */
  readonly location: string
  /** Returns a token that is valid now, or for at least `minValidity`. */
  readonly getAccessToken: (
    options?: Abortable & { readonly minValidity?: Duration.DurationInput | undefined }
  ) => Promise<string>
  /** Returns the token in memory if it can be served without I/O. */
  readonly peekAccessToken: () => string | undefined
  /**
   * Call this after a resource server answered 401 to this token. Returns another one, and refreshes only if
   * the given one is still current.
   */
  readonly reject: (token: string, options?: Abortable) => Promise<string>
  /** Returns a new token in any case. */
  readonly refresh: (options?: Abortable) => Promise<string>
  /**
   * Stores the credentials of a login. Replaces a grant of another identity or account only if `replace` is
   * set.
   */
  readonly save: (credentials: Credentials, options?: SaveOptions) => Promise<void>
  /** Removes the grant. Returns whether there was one. */
  readonly clear: () => Promise<boolean>
  readonly status: () => Promise<AuthStatus>
}

/**
 * A manager with promises that owns its layer.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnPromiseManager extends PromiseManager {
  /** Waits for a running refresh and its commit, then releases everything. */
  readonly close: () => Promise<void>
}

/**
 * Creates a manager with promises over this one. It lives as long as the manager's scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (manager: Manager): Effect.Effect<PromiseManager> =>
  Effect.map(Fibers.running(), (runtime) => promisesOf(manager, runtime))

/**
 * Returns the manager of an existing runtime, with promises. To choose one of several managers, pass its tag.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromRuntime: {
  <R, E>(runtime: ManagedRuntime.ManagedRuntime<R | TokenManager, E>): Promise<PromiseManager>
  <Self, R, E>(
    runtime: ManagedRuntime.ManagedRuntime<R | Self, E>,
    tag: Context.Tag<Self, Manager>
  ): Promise<PromiseManager>
} = async <Self, R, E>(
  managed: ManagedRuntime.ManagedRuntime<R | Self | TokenManager, E>,
  tag?: Context.Tag<Self, Manager>
): Promise<PromiseManager> => {
  const found: Effect.Effect<Manager, never, Self | TokenManager> = tag ?? TokenManager
  return unwrap(
    await managed.runPromiseExit(
      Effect.flatMap(found, (manager) =>
        Effect.map(Fibers.running(), (running) => promisesOf(manager, running))
      )
    )
  )
}

/**
 * Builds the layer and returns its manager with promises. A program without Effect needs nothing else.
 * Rejects if the layer cannot be built. Call `close` at the end of the program.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = async <E>(layer: Layer.Layer<TokenManager, E>): Promise<OwnPromiseManager> => {
  const runtime = ManagedRuntime.make(layer)
  try {
    const tokens = await fromRuntime(runtime)
    return { ...tokens, close: () => runtime.dispose() }
  } catch (error) {
    // The reason why the layer could not be built matters more than a failure to release it.
    await runtime.dispose().catch(() => undefined)
    throw error
  }
}

const promisesOf = (manager: Manager, running: Fibers.Running): PromiseManager => {
  const runExit = Fibers.runPromiseExit(running)
  const run = async <A, E>(effect: Effect.Effect<A, E>, signal?: AbortSignal): Promise<A> => {
    signal?.throwIfAborted()
    const exit = await runExit(effect, signal === undefined ? {} : { signal })
    if (Exit.isFailure(exit)) signal?.throwIfAborted()
    return unwrap(exit)
  }
  const runToken = (effect: Effect.Effect<Redacted.Redacted, unknown>, signal?: AbortSignal) =>
    run(Effect.map(effect, Redacted.value), signal)

  // All callers share one promise while it is pending.
  let pending: Promise<string> | undefined
  const join = (): Promise<string> => {
    if (pending !== undefined) return pending
    const shared = runToken(manager.getAccessToken)
    const forget = () => {
      if (pending === shared) pending = undefined
    }
    pending = shared
    shared.then(forget, forget)
    return shared
  }
  /** A caller that arrives after a change does not share the promise of earlier callers. */
  const change = <A>(start: () => Promise<A>): Promise<A> => {
    pending = undefined
    return start()
  }

  // One promise for each token: a fresh token allocates nothing.
  let known: Redacted.Redacted | undefined
  let answer: Promise<string> = Promise.resolve("")
  const getAccessToken: PromiseManager["getAccessToken"] = (options) => {
    const { minValidity, signal } = options ?? {}
    if (minValidity !== undefined) return runToken(manager.getAccessTokenFor({ minValidity }), signal)
    const fresh = manager.unsafePeek()
    if (fresh._tag === "None" || signal?.aborted) {
      return signal === undefined ? join() : runToken(manager.getAccessToken, signal)
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
    reject: (token, options) => change(() => runToken(manager.reject(Redacted.make(token)), options?.signal)),
    refresh: (options) => change(() => runToken(manager.refresh, options?.signal)),
    save: (credentials, options) => change(() => run(manager.save(credentials, options))),
    clear: () => change(() => run(manager.clear)),
    status: () => run(manager.status)
  }
}

/** Returns the failure as an `Error`: the failure itself if it is one, so that you can test for its class. */
const errorOf = (cause: Cause.Cause<unknown>): Error => {
  if (Cause.isInterruptedOnly(cause))
    return new Error("The request was interrupted: the manager is closed or closing")
  const failure = Cause.squash(cause)
  if (failure instanceof Error) return failure
  const error = new Error(messageOf(failure), { cause: failure })
  const name = nameOf(failure)
  if (name !== undefined) Object.defineProperty(error, "name", { value: name, configurable: true })
  return error
}

const nameOf = (failure: unknown): string | undefined => {
  if (Problems.isConfigError(failure)) return "ConfigError"
  return Predicate.hasProperty(failure, "_tag") && typeof failure._tag === "string" ? failure._tag : undefined
}

/** Quotes only values that are meant as text. Any other value may hold a secret. */
const messageOf = (failure: unknown): string => {
  if (Problems.isConfigError(failure)) return String(failure)
  if (typeof failure === "string" && failure !== "") return failure
  return Predicate.hasProperty(failure, "message") && typeof failure.message === "string"
    ? failure.message
    : "The manager failed with a value that is not an Error: see the cause"
}

/** Returns the value, or throws the failure. */
const unwrap = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw errorOf(exit.cause)
}
