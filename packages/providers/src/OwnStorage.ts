/**
 * The file in which a provider's own program keeps its credentials, as the core's `TokenStorage` and
 * `RefreshLease`. What that program keeps there stays; what is ours (family, generation, fence, journal) goes
 * under one top-level key, `latchkey`.
 *
 * Such a file holds one account. Others belong into a storage of the program's choice.
 *
 * @since 0.1.0
 */
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { type StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ClaudeFile from "./ClaudeFile.js"
import * as CodexFile from "./CodexFile.js"
import * as CopilotFile from "./CopilotFile.js"
import * as Paths from "./internal/paths.js"
import { type CredentialsSettings, type Provider, ProviderError } from "./Provider.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Another file of the same form than the provider's. */
  readonly path?: string | undefined
}

const formats: Record<CredentialsSettings["format"], FileFormat.FileFormat> = {
  latchkey: FileFormat.native,
  claude: ClaudeFile.format,
  codex: CodexFile.format,
  copilot: CopilotFile.format
}

/**
 * How the provider's own file holds credentials; our own form where it has none.
 *
 * @since 0.1.0
 * @category getters
 */
export const formatOf = (provider: Provider): FileFormat.FileFormat =>
  formats[provider.credentials?.format ?? "latchkey"]

/**
 * Where the provider's own file is, as its program finds it: by the environment variable for its directory
 * where that is set. None where it has no file.
 *
 * @since 0.1.0
 * @category getters
 */
export const path = (provider: Provider): Effect.Effect<Option.Option<string>, ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const { credentials } = provider
    if (credentials === undefined) return Option.none()
    const { directoryVariable, file } = credentials
    const directory =
      directoryVariable === undefined
        ? Option.none()
        : yield* Config.option(Config.nonEmptyString(directoryVariable))
    return Option.some(
      Option.match(directory, {
        onNone: () => Paths.expand(file),
        onSome: (d) => Paths.join(Paths.expand(d), Paths.basename(file))
      })
    )
  })

/**
 * The storage and the lease of the provider's own file, or of another of the same form.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  provider: Provider,
  options: Options = {}
): Effect.Effect<File.File, StorageError | ProviderError | ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const own = yield* path(provider)
    const chosen = Option.orElse(Option.map(Option.fromNullable(options.path), Paths.expand), () => own)
    if (Option.isNone(chosen)) {
      return yield* new ProviderError({
        reason: "NotOffered",
        provider: provider.id,
        message: `${provider.displayName} has no credential file of its own: keep its credentials in another storage, or set credentials.file.`
      })
    }
    return yield* File.make({ path: chosen.value, format: formatOf(provider) })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  provider: Provider,
  options: Options = {}
): Layer.Layer<TokenStorage | RefreshLease, StorageError | ProviderError | ConfigError.ConfigError> =>
  Layer.effectContext(
    Effect.map(make(provider, options), ({ lease, storage }) =>
      Context.make(TokenStorage, storage).pipe(Context.add(RefreshLease, lease))
    )
  )
