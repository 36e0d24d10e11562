/**
 * The embedded store: one SQLite database for the grants of all accounts without a file of their own. Each
 * grant is encrypted if there is a key for it.
 *
 * An account's file records what encrypts its grant, and this never changes by guessing: if a keychain is
 * locked later, the command reports it and does not fall back.
 *
 * @since 0.1.0
 */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as Encrypted from "@latchkey/storage/Encrypted"
import * as EncryptionKeys from "@latchkey/storage/EncryptionKeys"
import * as Sql from "@latchkey/storage/Sql"
import * as Sqlite from "@latchkey/storage/Sqlite"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Path from "node:path"
import type { Account, Encryption } from "./Account.js"
import type { About } from "./Failure.js"
import type { Paths } from "./Paths.js"

/**
 * What can go wrong when the store opens.
 *
 * @since 0.1.0
 * @category models
 */
export type OpenError = StorageError | ConfigError.ConfigError

/**
 * A grant's storage and its leases.
 *
 * @since 0.1.0
 * @category models
 */
export interface Kept {
  readonly storage: Context.Tag.Service<TokenStorage>
  readonly lease: Context.Tag.Service<RefreshLease>
}

/**
 * An account and where its grant is stored. `place` describes that for people.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session extends Kept {
  readonly account: Account
  readonly about: About
  readonly place: string
}

/**
 * The store. It opens for the first grant and closes with the scope.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store {
  /** Opens the grant called `account` in the database, with its encryption. */
  readonly open: (grant: {
    readonly provider: string
    readonly account: string
    readonly encryption: Encryption
  }) => Effect.Effect<Kept, OpenError>
  /** The encryption for a new grant here, and the reason if there is none. */
  readonly choose: Effect.Effect<Choice, OpenError>
}

/**
 * `why` is for the user, if a grant is stored in clear text without a request to do so.
 *
 * @since 0.1.0
 * @category models
 */
export interface Choice {
  readonly encryption: Encryption
  readonly why?: string | undefined
}

/** The setting that chooses the encryption of new grants. Default: `auto`. */
const encryptionVariable = "LATCHKEY_ENCRYPTION"

/** The setting that holds the user's own keys. */
const keysVariable = "AUTH__ENCRYPTION_KEYS"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (paths: Paths): Effect.Effect<Store, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const client = yield* Effect.cached(
      Layer.buildWithScope(Sqlite.layerClient({ filename: paths.store }), scope)
    )
    const keychain = yield* Effect.cached(keysFrom(keychainKeys(paths)))
    const environment = yield* Effect.cached(keysFrom(EncryptionKeys.layerConfig(keysVariable)))
    const keys = (encryption: "keychain" | "environment") =>
      encryption === "keychain" ? keychain : environment
    return {
      open: ({ account, encryption, provider }) =>
        Effect.gen(function* () {
          const { lease, storage } = yield* Effect.provide(Sql.make({ account }), yield* client)
          if (encryption === "none") return { lease, storage }
          const sealed = Encrypted.make(storage, { provider, account })
          return {
            lease,
            storage: yield* Effect.provideService(
              sealed,
              EncryptionKeys.EncryptionKeys,
              yield* keys(encryption)
            )
          }
        }),
      choose: Effect.gen(function* () {
        const setting = yield* wanted
        const own = yield* hasOwnKeys
        const encryption = setting === "auto" ? (own ? "environment" : "keychain") : setting
        const chosen: Choice = { encryption }
        if (encryption === "none") return chosen
        return yield* Effect.catchAll(Effect.as(keys(encryption), chosen), (error) =>
          setting === "auto" && isNoKeychain(error)
            ? Effect.succeed<Choice>({ encryption: "none", why: error.message })
            : Effect.fail(error)
        )
      })
    }
  })

const choices = ["auto", "keychain", "environment", "none"] as const
type Choices = (typeof choices)[number]

/** Not `Config.literal`, which quotes its input: that may be the key itself. */
const wanted = Config.validate(Config.withDefault(Config.string(encryptionVariable), "auto"), {
  message: `${encryptionVariable} is not one of ${choices.join(", ")}`,
  validation: (value): value is Choices => choices.some((choice) => choice === value)
})

const hasOwnKeys = Config.map(Config.withDefault(Config.string(keysVariable), ""), (keys) => keys !== "")

/**
 * What to do if new grants cannot be encrypted as configured.
 *
 * @since 0.1.0
 * @category getters
 */
export const encryptionAdvice = `do what the message says; or set ${keysVariable} to a key from: openssl rand -base64 32; or set ${encryptionVariable}=none, to store new grants without encryption`

/** There is no keychain. A locked one exists, and falling back would store secrets in clear text. */
const isNoKeychain = (error: OpenError): boolean =>
  error._tag === "StorageError" && error.reason === "Unavailable"

/** Loaded on use: most commands need no keychain. */
const keychainKeys = ({ data, home }: Paths) =>
  Layer.unwrapEffect(
    Effect.map(
      Effect.promise(() => import("@latchkey/storage/Keyring")),
      (Keyring) =>
        Keyring.layerEncryptionKeys({
          account: "encryption key of the store",
          // Its lock files are in the home directory, if there is one.
          ...(home === undefined && { directory: Path.join(data, "locks") })
        })
    )
  )

const keysFrom = (
  layer: Layer.Layer<EncryptionKeys.EncryptionKeys, OpenError>
): Effect.Effect<Context.Tag.Service<typeof EncryptionKeys.EncryptionKeys>, OpenError> =>
  Effect.provide(EncryptionKeys.EncryptionKeys, layer)
