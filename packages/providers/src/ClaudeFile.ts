/**
 * The credential file of Claude Code: `claudeAiOauth` in `~/.claude/.credentials.json`, the expiry in epoch
 * milliseconds. All else in the file, and in that object, belongs to others and stays.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Fields from "./internal/fields.js"
import { isObject } from "./internal/json.js"

const known = ["accessToken", "refreshToken", "expiresAt", "scopes", "subscriptionType"]

/** Under which key of the credentials' extras the rest of the object travels. */
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
      if (Object.keys(section).length === 0) return Option.none()
      const accessToken = yield* Fields.text(section, "accessToken")
      if (Option.isNone(accessToken)) return yield* Either.left(Fields.malformed("accessToken", "is missing"))
      const subscription = yield* Fields.text(section, "subscriptionType")
      const rest = Fields.without(section, known)
      return Option.some(
        Credentials.make({
          accessToken: accessToken.value,
          refreshToken: Option.getOrUndefined(yield* Fields.text(section, "refreshToken")),
          expiresAt: Option.getOrUndefined(yield* Fields.number(section, "expiresAt")),
          scopes: yield* Fields.scopes(section, "scopes"),
          extras: {
            ...(Option.isSome(subscription) && { subscription_type: subscription.value }),
            ...(Object.keys(rest).length > 0 && { [restKey]: rest })
          }
        })
      )
    }),
  encode: (credentials, section) => {
    const extras = Redacted.value(credentials.extras)
    const { [restKey]: rest, subscription_type: subscription } = extras
    return {
      ...(isObject(rest) && Fields.without(rest, [...known, ...Object.keys(section)])),
      accessToken: Redacted.value(credentials.accessToken),
      refreshToken: Option.getOrUndefined(Option.map(credentials.refreshToken, Redacted.value)),
      expiresAt: Option.getOrUndefined(credentials.expiresAt),
      scopes: credentials.scopes,
      ...(typeof subscription === "string" && { subscriptionType: subscription })
    }
  }
})
