/**
 * What is shown of a provider's grant besides the tokens: the plan, the kind of account, which tokens exist.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import * as Snapshot from "@latchkey/core/Snapshot"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isPending } from "./internal/pending.js"
import type { Provider } from "./Provider.js"

/**
 * Creates the view of a provider's credentials, with `extras`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (provider: Provider, credentials: Credentials): Snapshot.Snapshot =>
  Snapshot.fromCredentials(credentials, { provider: provider.name, extras: extras(provider, credentials) })

/**
 * Returns a provider's additional fields that are not secret: `subscription_type` (Claude),
 * `id_token_present` (Codex), `account_type` and `has_copilot_token` (Copilot).
 *
 * @since 0.1.0
 * @category getters
 */
export const extras = (provider: Provider, credentials: Credentials): Snapshot.Snapshot["extras"] => {
  const { account_type: accountType, subscription_type: subscription } = Redacted.value(credentials.extras)
  switch (provider.credentials?.format) {
    case "claude":
      return text("subscription_type", subscription)
    case "codex":
      return { id_token_present: Option.isSome(credentials.idToken) }
    case "copilot":
      return { ...text("account_type", accountType), has_copilot_token: !isPending(credentials) }
    default:
      return {}
  }
}

const text = (key: string, value: unknown) => (typeof value === "string" ? { [key]: value } : {})
