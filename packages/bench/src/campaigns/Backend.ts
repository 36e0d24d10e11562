/** The storages that campaigns run on, named so that a child process can open the same one. */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as File from "@latchkey/storage/File"
import * as Postgres from "@latchkey/storage/Postgres"
import * as Redis from "@latchkey/storage/Redis"
import * as Sqlite from "@latchkey/storage/Sqlite"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"

export interface Backend {
  readonly kind: "file" | "sqlite" | "postgres" | "redis"
  /** A path, or the URL of a server. */
  readonly location: string
  readonly account: string
}

/** Whether it is kept in files of this host, whose modes can be looked at. */
export const isLocal = ({ kind }: Backend): boolean => kind === "file" || kind === "sqlite"

export const layer = (backend: Backend): Layer.Layer<TokenStorage | RefreshLease, StorageError> => {
  const { account, kind, location } = backend
  switch (kind) {
    case "file":
      return File.layer({ path: location })
    case "sqlite":
      return Sqlite.layer({ account, filename: location })
    case "postgres":
      return Postgres.layer({ account, client: { url: Redacted.make(location), maxConnections: 2 } })
    case "redis":
      return Redis.layer({ account, server: location })
  }
}
