/**
 * The providers of a program, by ID: the built-in ones, those of the user's file, and changes to either from
 * the environment.
 *
 * Each is read on request, so one with wrong settings does not affect the others.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as BuiltIn from "./BuiltIn.js"
import * as Inheritance from "./internal/inheritance.js"
import * as ProvidersFile from "./internal/providersFile.js"
import * as Directory from "./internal/directory.js"
import * as Paths from "./internal/paths.js"
import * as Variables from "./internal/variables.js"
import { fromSettings, type Provider, ProviderError } from "./Provider.js"
import type { Encoded } from "./ProviderSettings.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Registry {
  /**
   * Returns a provider, with `changes` applied over all its other settings. Fails with `Unknown` for a
   * provider that is not among {@link ids}, unless there are changes and they, or the environment, name its
   * server.
   */
  readonly get: (
    id: string,
    changes?: Readonly<Record<string, unknown>>
  ) => Effect.Effect<Provider, ProviderError>
  /** All IDs, in order. */
  readonly ids: Effect.Effect<ReadonlyArray<string>, ProviderError>
  /** All providers, in the order of their IDs. One with wrong settings is returned as its error. */
  readonly all: Effect.Effect<ReadonlyArray<Either.Either<Provider, ProviderError>>, ProviderError>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Providers extends Context.Tag("@latchkey/providers/Providers")<Providers, Registry>() {}

/**
 * The sources of providers, in addition to the built-in ones.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The program's own. One with the ID of a built-in one changes it. */
  readonly providers?: Readonly<Record<string, Encoded & { readonly extends?: string }>> | undefined
  /** A file of the user's, in the form of `providers.schema.json`. It need not exist. */
  readonly file?: string | undefined
  /**
   * Whether environment variables (`LATCHKEY_<ID>_…`) change them, through Effect's `Config`. Default: false.
   */
  readonly variables?: boolean | undefined
}

/**
 * Creates a registry. Reads nothing yet. The file is read once, on the first request for a provider.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Registry> =>
  Effect.gen(function* () {
    const sources = yield* Effect.cached(
      Effect.map(
        options.file === undefined ? Effect.succeed({}) : ProvidersFile.read(options.file),
        (fromFile) => [
          { where: "the built-in providers", providers: BuiltIn.providers },
          { where: "the program's providers", providers: options.providers ?? {} },
          { where: options.file ?? "", providers: fromFile }
        ]
      )
    )
    const ids = Effect.map(sources, (all) =>
      [...new Set(all.flatMap(({ providers }) => Object.keys(providers)))].sort()
    )
    const get: Registry["get"] = (id, changes) =>
      Effect.gen(function* () {
        const known = yield* ids
        if (!known.includes(id) && changes === undefined) return yield* unknown(id, known, options.file)
        const { settings, where } = known.includes(id)
          ? yield* Inheritance.resolve(id, yield* sources)
          : { settings: {}, where: `the provider ${id}` }
        const overrides = options.variables === true ? yield* Variables.read(id) : Option.none()
        const varied = Option.match(overrides, {
          onNone: () => ({ settings, where }),
          onSome: (o) => ({
            settings: Inheritance.merge(settings, o.settings),
            where: `${where}, with ${o.names.join(", ")}`
          })
        })
        if (changes === undefined) return yield* fromSettings(id, varied.settings, varied.where)
        const all = Inheritance.merge(varied.settings, changes)
        if (known.includes(id))
          return yield* fromSettings(id, all, `${varied.where}, as changed by the program`)
        if (!namesServer(all)) return yield* unknown(id, known, options.file)
        return yield* fromSettings(id, all, varied.where)
      })
    return {
      get,
      ids,
      all: Effect.flatMap(
        ids,
        Effect.forEach((id) => Effect.either(get(id)))
      )
    }
  })

/** Changes to an unknown provider create one only if they name its server. */
const namesServer = ({ server }: Readonly<Record<string, unknown>>): boolean =>
  Predicate.isRecord(server) && (server["issuer"] ?? server["tokenEndpoint"]) !== undefined

const unknown = (id: string, known: ReadonlyArray<string>, file: string | undefined): ProviderError =>
  new ProviderError({
    reason: "Unknown",
    provider: id,
    message:
      `${JSON.stringify(id.slice(0, 64))} is not a known provider: there are ${known.join(", ")}.` +
      (file === undefined ? "" : ` Add others in ${file}.`)
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Providers> => Layer.effect(Providers, make(options))

/**
 * {@link layer} with the sources for a command: the environment's changes, and the file that
 * `LATCHKEY_PROVIDERS_FILE` names, or `latchkey/providers.json` in the XDG configuration directory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Options = {}): Layer.Layer<Providers, ConfigError.ConfigError> =>
  Layer.effect(
    Providers,
    Effect.gen(function* () {
      const named = yield* Config.option(Config.nonEmptyString("LATCHKEY_PROVIDERS_FILE"))
      const file = yield* Option.match(
        Option.orElse(Option.fromNullable(options.file), () => named),
        {
          onNone: () =>
            Effect.map(Directory.settingsHome, (folder) => Paths.join(folder, "latchkey/providers.json")),
          onSome: (path) => Effect.suspend(() => Paths.expand(path))
        }
      )
      return yield* make({ variables: true, ...options, file })
    })
  )
