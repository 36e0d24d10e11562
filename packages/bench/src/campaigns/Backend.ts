/** The storages that campaigns run on, named so that a child process can open the same one. */
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"

export interface Backend {
  /** `memory` belongs to the one process that opens it. */
  readonly kind: "memory" | "file" | "sqlite" | "postgres" | "redis"
  /** A path, or the URL of a server. Empty for memory. */
  readonly location: string
  readonly account: string
}

/** Whether it is stored in files of this host, whose modes can be checked. */
export const isLocal = ({ kind }: Backend): boolean => kind === "file" || kind === "sqlite"

/** Each backend's module is loaded on use, so a child process loads only its own. */
export const layer = (
  backend: Backend
): Layer.Layer<TokenStorage.TokenStorage | RefreshLease.RefreshLease, TokenStorage.StorageError> =>
  dieOfConfiguration(Layer.unwrapEffect(Effect.promise(() => open(backend))))

/** The URLs of campaigns are made here, so a wrong one is a bug. */
export const dieOfConfiguration = <A>(
  layer: Layer.Layer<A, TokenStorage.StorageError | ConfigError.ConfigError>
): Layer.Layer<A, TokenStorage.StorageError> =>
  Layer.catchAll(layer, (error) =>
    error instanceof TokenStorage.StorageError ? Layer.fail(error) : Layer.die(error)
  )

const open = async ({
  account,
  kind,
  location
}: Backend): Promise<
  Layer.Layer<
    TokenStorage.TokenStorage | RefreshLease.RefreshLease,
    TokenStorage.StorageError | ConfigError.ConfigError
  >
> => {
  switch (kind) {
    case "memory":
      return Layer.merge(TokenStorage.layerMemory, RefreshLease.layerProcess)
    case "file":
      return (await import("@latchkey/storage/File")).layer({ path: location })
    case "sqlite":
      return (await import("@latchkey/storage/Sqlite")).layer({ account, filename: location })
    case "postgres":
      return (await import("@latchkey/storage/Postgres")).layer({
        account,
        client: { url: Redacted.make(location), maxConnections: 2 }
      })
    case "redis":
      return (await import("@latchkey/storage/Redis")).layer({ account, server: location })
  }
}
