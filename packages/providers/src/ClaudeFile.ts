/**
 * The credential file of Claude Code: `claudeAiOauth` in `~/.claude/.credentials.json`, with the expiry in
 * epoch milliseconds. Everything else in the file belongs to others and stays. The other fields of that
 * object belong to its grant: they stay with the grant, and are removed with it.
 *
 * Claude Code leaves blank tokens when it has logged out. Then there is no grant.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Fields from "./internal/fields.js"
import { isObject, type JsonObject, textAt } from "./internal/json.js"

const known = ["accessToken", "refreshToken", "expiresAt", "scopes", "subscriptionType"]

/** The key of the credentials' extras that carries the rest of the object. */
const restKey = "claudeAiOauth"

/**
 * The credentials in such a file. The extras hold `subscription_type`, as the token response names it.
 *
 * @since 0.1.0
 * @category formats
 */
export const format: FileFormat.FileFormat = FileFormat.foreign({
  at: ["claudeAiOauth"],
  decode: (section) =>
    Either.gen(function* () {
      const tokens = yield* Fields.tokens(section, { access: "accessToken", refresh: "refreshToken" })
      if (Option.isNone(tokens)) return Option.none()
      const subscription = yield* Fields.text(section, "subscriptionType")
      const rest = Fields.without(section, known)
      return Option.some(
        Credentials.make({
          ...tokens.value,
          expiresAt: Option.getOrUndefined(yield* Fields.number(section, "expiresAt")),
          scopes: yield* Fields.scopes(section, "scopes"),
          extras: {
            ...(Option.isSome(subscription) && { subscription_type: subscription.value }),
            ...(Object.keys(rest).length > 0 && { [restKey]: rest })
          }
        })
      )
    }),
  // The whole object belongs to the grant: the plan, the limits, the account. Another grant takes nothing
  // from it.
  encode: (credentials, section, { sameGrant }) => {
    const extras = Redacted.value(credentials.extras)
    const { [restKey]: rest, subscription_type: subscription } = extras
    return {
      ...(!sameGrant && Fields.removed(section)),
      ...(isObject(rest) && Fields.without(rest, [...known, ...(sameGrant ? Object.keys(section) : [])])),
      ...answered(credentials),
      accessToken: Redacted.value(credentials.accessToken),
      refreshToken: Option.getOrUndefined(Option.map(credentials.refreshToken, Redacted.value)),
      expiresAt: Option.getOrUndefined(credentials.expiresAt),
      scopes: credentials.scopes,
      ...(typeof subscription === "string" && { subscriptionType: subscription })
    }
  },
  problem: ({ scopes }, _, { sameGrant }) =>
    sameGrant || scopes.length > 0
      ? Option.none()
      : Option.some(
          Fields.incomplete(
            "scopes",
            "are not known, and Claude Code uses no grant without them: log in again, or import the grant together with its scopes"
          )
        )
})

/** The fields that the token endpoint's response holds under other names: the account and the lifetime. */
const answered = ({ extras, obtainedAt }: Credentials.Credentials): JsonObject => {
  const response = Redacted.value(extras)
  const account = textAt(response, ["account", "uuid"])
  const organization = textAt(response, ["organization", "uuid"])
  const seconds = response["refresh_token_expires_in"]
  return {
    ...(Option.isSome(account) && { accountUuid: account.value }),
    ...(Option.isSome(organization) && { organizationUuid: organization.value }),
    ...(typeof seconds === "number" &&
      seconds > 0 &&
      Option.isSome(obtainedAt) && { refreshTokenExpiresAt: obtainedAt.value + seconds * 1000 })
  }
}
