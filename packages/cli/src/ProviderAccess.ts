/**
 * The providers at work for an account: where its grant is if its provider keeps it, and how it is renewed.
 *
 * @since 0.1.0
 */
import type { TokenRefresher } from "@latchkey/core/TokenRefresher"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Account } from "./Account.js"
import type * as Failure from "./Failure.js"
import type { Session } from "./Session.js"
import type { Workspace } from "./Workspace.js"

export const discovered = (
  _known: ReadonlyArray<Account>
): Effect.Effect<ReadonlyArray<Account>, Failure.Failure, Workspace> => Effect.succeed([])

export const open = (
  _account: Account
): Effect.Effect<Pick<Session, "storage" | "lease" | "place">, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.die("later")

export const refresher = (
  _session: Session
): Effect.Effect<Context.Tag.Service<TokenRefresher>, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.die("later")
