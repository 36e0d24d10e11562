import {
  GrantMismatch,
  ReauthorizationRequired,
  RefreshUnavailable,
  type TokenError
} from "@latchkey/core/TokenError"
import { StorageError } from "@latchkey/core/TokenStorage"

/** Whether the error means that a manager had no token. */
export const is = (error: unknown): error is TokenError =>
  error instanceof ReauthorizationRequired ||
  error instanceof RefreshUnavailable ||
  error instanceof GrantMismatch ||
  error instanceof StorageError
