/**
 * The context of a run: its paths, the store, and the lookup of providers.
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
 * Reads only the environment. The store opens on first use.
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
 * Provides the workspace to a command when it runs, because help and version need no home directory.
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
