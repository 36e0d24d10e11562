/**
 * The file, or the keychain item, in which a provider's own program keeps its credentials, as the core's
 * `TokenStorage` and `RefreshLease`. What that program keeps there stays; what is ours (family, generation, fence, journal) goes
 * under one top-level key, `latchkey`.
 *
 * Such a file holds one account. Others belong into a storage of the program's choice.
 *
 * @since 0.1.0
 */
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { type StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as Keyring from "@latchkey/storage/Keyring"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ClaudeFile from "./ClaudeFile.js"
import * as CodexFile from "./CodexFile.js"
import * as CopilotFile from "./CopilotFile.js"
import * as GeminiFile from "./GeminiFile.js"
import * as Directory from "./internal/directory.js"
import * as FileThenKeychain from "./internal/fileThenKeychain.js"
import * as Paths from "./internal/paths.js"
import { type CredentialsSettings, type Provider, ProviderError } from "./Provider.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A file of the same form in place of the provider's own, and of its keychain. */
  readonly path?: string | undefined
}

const formats: Record<CredentialsSettings["format"], (provider: Provider) => FileFormat.FileFormat> = {
  latchkey: () => FileFormat.native,
  claude: () => ClaudeFile.format,
  codex: () => CodexFile.format,
  copilot: ({ client, server }) =>
    CopilotFile.make({
      host: new URL("tokenEndpoint" in server ? server.tokenEndpoint : server.issuer).host,
      clientId: client.clientId
    }),
  gemini: () => GeminiFile.format
}

/**
 * How the provider's own file holds credentials; our own form where it has none.
 *
 * @since 0.1.0
 * @category getters
 */
export const formatOf = (provider: Provider): FileFormat.FileFormat =>
  formats[provider.credentials?.format ?? "latchkey"](provider)

/**
 * Where a provider's own program keeps its credentials.
 *
 * @since 0.1.0
 * @category models
 */
export interface Location {
  readonly file: string
  /** The item that is used where the file holds no grant. */
  readonly keychain: Option.Option<{ readonly service: string; readonly account: string }>
}

/**
 * Where the provider's own credentials are, as its program finds them: by the environment variable for its
 * directory where that is set. None where it has no file.
 *
 * @since 0.1.0
 * @category getters
 */
export const locate = (provider: Provider): Effect.Effect<Option.Option<Location>, ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const { credentials } = provider
    if (credentials === undefined) return Option.none()
    const { file, keychain = process.platform === "darwin", keychainService } = credentials
    const directory = yield* Directory.of(provider)
    const account = yield* userAccount(credentials)
    return Option.some({
      file: Directory.pathIn(provider, directory, file),
      keychain: Option.map(
        Option.filter(Option.fromNullable(keychainService), () => keychain),
        (service) => ({ service: `${service}${suffix(directory)}`, account })
      )
    })
  })

/** What Claude Code takes for a user: `USER`, else the user's name; none with other characters than these. */
const userAccount = ({ keychainAccount = "user" }: CredentialsSettings) =>
  Effect.map(Config.option(Config.nonEmptyString("USER")), (variable) => {
    const name = Option.getOrElse(variable, Paths.userName)
    return name !== undefined && /^[A-Za-z0-9._-]+$/.test(name) ? name : keychainAccount
  })

/**
 * The file alone of {@link locate}.
 *
 * @since 0.1.0
 * @category getters
 */
export const path = (provider: Provider): Effect.Effect<Option.Option<string>, ConfigError.ConfigError> =>
  Effect.map(
    locate(provider),
    Option.map(({ file }) => file)
  )

/** By public reports, Claude Code tells the items of its directories apart so. */
const suffix = (directory: Option.Option<string>): string =>
  Option.match(directory, {
    onNone: () => "",
    onSome: (d) => `-${Fingerprint.sha256(new TextEncoder().encode(d)).slice(0, 8)}`
  })

/**
 * The storage and the lease of the provider's own credentials, or of another file of the same form.
 *
 * What is in the keychain is read where the file holds no grant, and written back there.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  provider: Provider,
  options: Options = {}
): Effect.Effect<File.File, StorageError | ProviderError | ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const location =
      options.path === undefined
        ? yield* locate(provider)
        : Option.some({ file: Paths.expand(options.path), keychain: Option.none() })
    if (Option.isNone(location)) {
      return yield* new ProviderError({
        reason: "NotOffered",
        provider: provider.id,
        message: `${provider.displayName} has no credential file of its own: keep its credentials in another storage, or set credentials.file.`
      })
    }
    const { file: at, keychain } = location.value
    const format = formatOf(provider)
    const file = yield* File.make({ path: at, format })
    if (Option.isNone(keychain)) return file
    const { storage } = yield* Keyring.make({ ...keychain.value, format, beside: at })
    return { storage: FileThenKeychain.make(file.storage, storage), lease: file.lease }
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
