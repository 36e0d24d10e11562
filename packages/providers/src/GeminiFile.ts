/**
 * The credential file of Gemini CLI: `~/.gemini/oauth_creds.json`, as Google's client library writes it. The
 * whole document is the grant. `expiry_date` is in epoch milliseconds.
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

const known = ["access_token", "refresh_token", "id_token", "token_type", "scope", "expiry_date"]

/** The key of the credentials' extras that carries the rest of the document. */
const restKey = "gemini_credentials"

/**
 * The credentials in such a file.
 *
 * @since 0.1.0
 * @category formats
 */
export const format: FileFormat.FileFormat = FileFormat.foreign({
  at: [],
  decode: (document) =>
    Either.gen(function* () {
      const tokens = yield* Fields.tokens(document, {
        access: "access_token",
        refresh: "refresh_token"
      })
      if (Option.isNone(tokens)) return Option.none()
      const rest = Fields.without(document, [...known, "latchkey"])
      return Option.some(
        Credentials.make({
          ...tokens.value,
          idToken: Option.getOrUndefined(yield* Fields.token(document, "id_token")),
          tokenType: Option.getOrUndefined(yield* Fields.token(document, "token_type")),
          expiresAt: Option.getOrUndefined(yield* Fields.number(document, "expiry_date")),
          scopes: yield* Fields.scopes(document, "scope"),
          extras: Object.keys(rest).length > 0 ? { [restKey]: rest } : {}
        })
      )
    }),
  encode: (credentials, document, { sameGrant }) => {
    const { [restKey]: rest } = Redacted.value(credentials.extras)
    return {
      ...(sameGrant ? {} : Fields.removed(document, ["latchkey"])),
      ...(isObject(rest) && Fields.without(rest, [...known, ...(sameGrant ? Object.keys(document) : [])])),
      access_token: Redacted.value(credentials.accessToken),
      refresh_token: Option.getOrUndefined(Option.map(credentials.refreshToken, Redacted.value)),
      id_token: Option.getOrUndefined(Option.map(credentials.idToken, Redacted.value)),
      token_type: credentials.tokenType,
      scope: credentials.scopes.join(" "),
      expiry_date: Option.getOrUndefined(credentials.expiresAt)
    }
  }
})
