/** The storages that campaigns run on, named so that a child process can open the same one. */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import type { StorageError, TokenStorage } from "@latchkey/core/TokenStorage"
import * as File from "@latchkey/storage/File"
import type * as Layer from "effect/Layer"

export interface Backend {
  readonly kind: "file"
  readonly location: string
}

export const layer = (backend: Backend): Layer.Layer<TokenStorage | RefreshLease, StorageError> =>
  File.layer({ path: backend.location })
