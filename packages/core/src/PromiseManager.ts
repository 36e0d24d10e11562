/**
 * Tokens as `Promise<string>`, for code that is not written in Effect.
 *
 * A fresh token needs no fiber: its promise is resolved already. A failure rejects with an `Error`: the `TokenError` itself,
 * or an `Error` whose `cause` is what a layer or a defect failed with, such as a `ConfigError`.
 *
 * Tokens are returned in clear: pass them to the client that needs them, and do not log them.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
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
 * Stops waiting when the signal fires: the promise rejects with the signal's reason, like that of `fetch`. A refresh that is
 * under way goes on, because it may have spent a refresh token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Abortable {
  readonly signal?: AbortSignal | undefined
}

/**
 * A manager in promises; see `TokenManager.Manager` for what each member does.
 *
 * @since 0.1.0
 * @category models
 */
export interface PromiseManager {
  /** Where the grant is kept. */
  readonly location: string
  /** A token that is valid now, or for at least `minValidity`. */
  readonly getAccessToken: (
    options?: Abortable & { readonly minValidity?: Duration.DurationInput | undefined }
  ) => Promise<string>
  /** The token in memory, if it can be served without I/O. */
  readonly peekAccessToken: () => string | undefined
  /** A resource server answered 401 to this token: returns another one, and refreshes only if this is still the current one. */
  readonly reject: (token: string, options?: Abortable) => Promise<string>
  /** A new token in any case. */
  readonly refresh: (options?: Abortable) => Promise<string>
  /** Stores the credentials of a login. Replaces a grant of another identity or account only if `replace` is set. */
  readonly save: (credentials: Credentials, options?: SaveOptions) => Promise<void>
  /** Removes the grant; whether there was one. */
  readonly clear: () => Promise<boolean>
  readonly status: () => Promise<AuthStatus>
}

/**
 * A manager in promises that owns its layer.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnPromiseManager extends PromiseManager {
  /** Waits for a refresh that is under way and its commit, then releases everything. */
  readonly close: () => Promise<void>
}

/**
 * A manager in promises over this one; it lives as long as the manager's scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (manager: Manager): Effect.Effect<PromiseManager> =>
  Effect.map(Effect.runtime(), (runtime) => promisesOf(manager, runtime))

/**
 * The manager of an existing runtime, in promises. For one of several managers, give its tag.
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
      Effect.flatMap(found, (manager) => Effect.map(Effect.runtime(), (r) => promisesOf(manager, r)))
    )
  )
}

/**
 * Builds the layer and returns its manager in promises: all that a program without Effect needs. Rejects where the layer cannot
 * be built. Call `close` at the end of the program.
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
    // Why the layer could not be built matters more than a failure to release it.
    await runtime.dispose().catch(() => undefined)
    throw error
  }
}

const promisesOf = (manager: Manager, runtime: Runtime.Runtime<never>): PromiseManager => {
  const runExit = Runtime.runPromiseExit(runtime)
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
  /** A caller who comes after a change does not share the promise of those who came before it. */
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

/** The failure as an `Error`: itself where it is one, so that its class can be asked for. */
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
  if (ConfigError.isConfigError(failure)) return "ConfigError"
  return Predicate.hasProperty(failure, "_tag") && typeof failure._tag === "string" ? failure._tag : undefined
}

/** Only what is meant as a text is quoted: any other value may hold a secret. */
const messageOf = (failure: unknown): string => {
  if (ConfigError.isConfigError(failure)) return String(failure)
  if (typeof failure === "string" && failure !== "") return failure
  return Predicate.hasProperty(failure, "message") && typeof failure.message === "string"
    ? failure.message
    : "The manager failed with a value that is not an Error: see the cause"
}

/** The value, or the failure thrown. */
const unwrap = <A, E>(exit: Exit.Exit<A, E>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw errorOf(exit.cause)
}
