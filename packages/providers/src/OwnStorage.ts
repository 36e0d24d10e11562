/**
 * The file or keychain item in which a provider's own program keeps its credentials, as the core's
 * `TokenStorage` and `RefreshLease`. That program's other data stays. Latchkey's data (family, generation,
 * fence, journal) is stored under one top-level key, `latchkey`.
 *
 * Such a file holds one account. Store other accounts in a storage of your choice.
 *
 * @since 0.1.0
 */
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { type StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as File from "@latchkey/storage/File"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as Keyring from "@latchkey/storage/Keyring"
import * as OwnerLocks from "@latchkey/storage/OwnerLocks"
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
import * as KeychainThenFile from "./internal/keychainThenFile.js"
import * as OwnersChoice from "./internal/ownersChoice.js"
import * as Paths from "./internal/paths.js"
import { existsSync } from "node:fs"
import { type CredentialsSettings, type Provider, ProviderError } from "./Provider.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A file of the same form, which replaces the provider's own file and its keychain. */
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
 * Returns how the provider's own file holds credentials: Latchkey's own form if the provider has no file.
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
  /** The item of the keychain. None if the keychain is not used. */
  readonly keychain: Option.Option<{ readonly service: string; readonly account: string }>
  /**
   * What is read, and in which order.
   *
   * - `keychainThenFile`: the file if the keychain has no such item.
   * - `keychainOrFile`: the file also if there is no keychain, or it is locked.
   * - `nowhere`: the program keeps them in memory, or encrypted with its own key.
   */
  readonly order: "file" | "keychain" | "keychainThenFile" | "keychainOrFile" | "nowhere"
}

/**
 * Returns where the provider's own credentials are, found as its program finds them: by the environment
 * variable for its directory, if that is set, and by its own setting. None if the provider has no file.
 *
 * @since 0.1.0
 * @category getters
 */
export const locate = (
  provider: Provider
): Effect.Effect<Option.Option<Location>, ProviderError | ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const { credentials } = provider
    if (credentials === undefined) return Option.none()
    const directory = yield* Directory.of(provider)
    const file = yield* Directory.pathIn(provider, directory, credentials.file)
    const order = yield* orderOf(provider, file)
    const { keychainService: service } = credentials
    if (order === "file" || order === "nowhere" || service === undefined) {
      return Option.some({ file, keychain: Option.none(), order: order === "nowhere" ? order : "file" })
    }
    const item =
      credentials.keychainName === "directory"
        ? { service, account: `cli|${hash(Paths.canonical(Paths.dirname(file)), 16)}` }
        : { service: `${service}${suffix(directory)}`, account: yield* userAccount(credentials) }
    return Option.some({ file, keychain: Option.some(item), order })
  })

const orderOf = (provider: Provider, file: string): Effect.Effect<Location["order"], ProviderError> => {
  const { keychain = process.platform === "darwin", storeSetting } = provider.credentials!
  if (storeSetting === undefined) return Effect.succeed(keychain ? "keychainThenFile" : "file")
  return Effect.map(OwnersChoice.read(provider, Paths.dirname(file)), (choice) =>
    // There Codex puts only a key into the keychain, and encrypts a file of its own with it.
    process.platform === "win32" && (choice === "keyring" || choice === "auto") ? "nowhere" : orders[choice]
  )
}

const orders: Record<OwnersChoice.Choice, Location["order"]> = {
  file: "file",
  keyring: "keychain",
  auto: "keychainOrFile",
  ephemeral: "nowhere"
}

/**
 * What Claude Code takes as the user: `USER`, or else the user's name. None if it contains other characters
 * than these.
 */
const userAccount = ({ keychainAccount = "user" }: CredentialsSettings) =>
  Effect.map(Config.option(Config.nonEmptyString("USER")), (variable) => {
    const name = Option.getOrElse(variable, Paths.userName)
    return name !== undefined && /^[A-Za-z0-9._-]+$/.test(name) ? name : keychainAccount
  })

/**
 * Returns only the file of {@link locate}.
 *
 * @since 0.1.0
 * @category getters
 */
export const path = (
  provider: Provider
): Effect.Effect<Option.Option<string>, ProviderError | ConfigError.ConfigError> =>
  Effect.map(
    locate(provider),
    Option.map(({ file }) => file)
  )

/**
 * Returns the files of other programs from which a grant of the provider can be imported, whether they exist
 * or not. {@link make} reads them like the provider's own.
 *
 * @since 0.1.0
 * @category getters
 */
export const importPlaces = ({
  credentials
}: Provider): Effect.Effect<ReadonlyArray<string>, ConfigError.ConfigError> =>
  Effect.forEach(credentials?.importFrom ?? [], Directory.expand)

/** By public reports, Claude Code distinguishes the items of its directories in this way. */
const suffix = (directory: Option.Option<string>): string =>
  Option.match(directory, { onNone: () => "", onSome: (d) => `-${hash(d, 8)}` })

const hash = (text: string, digits: number): string =>
  Fingerprint.sha256(new TextEncoder().encode(text)).slice(0, digits)

/**
 * Whether the provider's own program keeps something there: a file or a keychain item, whatever is in it. A
 * keychain that cannot be read counts if the program uses nothing else.
 *
 * @since 0.1.0
 * @category getters
 */
export const exists = (provider: Provider): Effect.Effect<boolean, ProviderError | ConfigError.ConfigError> =>
  Effect.flatMap(
    locate(provider),
    Option.match({
      onNone: () => Effect.succeed(false),
      onSome: ({ file, keychain, order }) => {
        if (order === "nowhere") return Effect.succeed(false)
        if (order !== "keychain" && existsSync(file)) return Effect.succeed(true)
        return Option.match(keychain, {
          onNone: () => Effect.succeed(false),
          onSome: (item) =>
            Effect.orElseSucceed(
              Effect.flatMap(Keyring.make({ ...item, beside: file }), (made) => made.exists),
              () => order === "keychain"
            )
        })
      }
    })
  )

/**
 * Creates the storage and the lease of the provider's own credentials, or of another file of the same form.
 *
 * If its program uses the keychain, the keychain is read before the file, as the program does, and a grant is
 * written back to where it was found.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  provider: Provider,
  options: Options = {}
): Effect.Effect<File.File, StorageError | ProviderError | ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const location: Option.Option<Location> =
      options.path === undefined
        ? yield* locate(provider)
        : Option.some({ file: yield* Paths.expand(options.path), keychain: Option.none(), order: "file" })
    const notOffered = (message: string) =>
      new ProviderError({ reason: "NotOffered", provider: provider.id, message })
    if (Option.isNone(location)) {
      return yield* notOffered(
        `${provider.displayName} has no credential file of its own: keep its credentials in another storage, or set credentials.file.`
      )
    }
    const { file: at, keychain, order } = location.value
    if (order === "nowhere") {
      const { file, key } = provider.credentials!.storeSetting!
      return yield* notOffered(
        `${provider.displayName} keeps its credentials in memory or encrypted, where other programs cannot use them, because of ${key} in ${Paths.join(Paths.dirname(at), file)}. Change that setting, or keep the grant in another storage.`
      )
    }
    const format = formatOf(provider)
    const file = yield* File.make({ path: at, format })
    const locks = locksOf(provider, at)
    const guarded = (storage: File.File["storage"]): File.File => ({
      storage: OwnerLocks.storage(storage, locks),
      lease: OwnerLocks.lease(file.lease, locks)
    })
    if (Option.isNone(keychain)) return guarded(file.storage)
    const { exists, storage } = yield* Keyring.make({ ...keychain.value, format, beside: at })
    return guarded(
      KeychainThenFile.make({
        keychain: storage,
        exists,
        file: file.storage,
        fallBack: fallBacks[order],
        removesFile: provider.credentials?.storeSetting !== undefined
      })
    )
  })

/**
 * The locks beside a file. For another file than the provider's own, perhaps no program uses them. Then no
 * lock is created that would stay.
 */
const locksOf = ({ credentials, displayName }: Provider, file: string): OwnerLocks.Options => ({
  owner: `The program of ${displayName}`,
  locks: (credentials?.locks ?? []).map(({ path: name, ...lock }) => ({
    ...lock,
    path: Paths.join(Paths.canonical(Paths.dirname(file)), name),
    create: Paths.basename(file) === Paths.basename(credentials?.file ?? "")
  }))
})

const fallBacks = {
  file: "never",
  keychain: "never",
  keychainThenFile: "absent",
  keychainOrFile: "unreadable"
} as const

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
