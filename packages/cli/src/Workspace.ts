/**
 * What a run of the command works with: its paths, the store, and how a provider is found.
 *
 * @since 0.1.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Failure from "./Failure.js"
import * as Paths from "./Paths.js"
import * as Store from "./Store.js"

/**
 * @since 0.1.0
 * @category tags
 */
export class Workspace extends Context.Tag("@latchkey/cli/Workspace")<
  Workspace,
  { readonly paths: Paths.Paths; readonly store: Store.Store }
>() {}

/**
 * Reads nothing but the environment; the store is opened when it is used.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Workspace, ConfigError.ConfigError> = Layer.scoped(
  Workspace,
  Effect.gen(function* () {
    const paths = yield* Paths.make
    return { paths, store: yield* Store.make(paths) }
  })
)

/**
 * Gives a command its workspace when it is run: help and versions need no home directory.
 *
 * @since 0.1.0
 * @category running
 */
export const provided = <A, R>(
  command: Effect.Effect<A, Failure.Failure, R>
): Effect.Effect<A, Failure.Failure, Exclude<R, Workspace>> =>
  Effect.provide(
    command,
    Layer.mapError(layer, (error) => Failure.configuration(Failure.configProblem(error)))
  )
