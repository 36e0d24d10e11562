/**
 * The credential file of Copilot: `oauth_token`, GitHub's long-lived one, which is the refresh token here, and
 * `copilot_token`, the service token that callers want. Instants are epoch seconds.
 *
 * Without a service token yet, the GitHub token stands in as an expired access token: it is never served, and
 * a refresh is due.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Fields from "./internal/fields.js"
import { isObject, type JsonObject } from "./internal/json.js"
import { isPending } from "./internal/pending.js"

const oauthKeys = ["access_token", "token_type", "scope", "created_at"]
const serviceKeys = ["token", "expires_at"]

/**
 * The credentials in such a file. The extras hold `account_type`, and under `copilot_token` what came with the
 * service token: the endpoints to use it at, features, `refresh_in`.
 *
 * @since 0.1.0
 * @category formats
 */
export const format: FileFormat.FileFormat = FileFormat.foreign({
  at: [],
  decode: (document, now) =>
    Either.gen(function* () {
      const oauth = yield* Fields.object(document, "oauth_token")
      if (Option.isNone(oauth)) return Option.none()
      const github = yield* Fields.text(oauth.value, "access_token", "oauth_token.access_token")
      if (Option.isNone(github)) {
        return yield* Either.left(Fields.malformed("oauth_token.access_token", "is missing"))
      }
      const createdAt = yield* Fields.seconds(oauth.value, "created_at", "oauth_token.created_at")
      const service = Option.getOrElse(
        yield* Fields.object(document, "copilot_token"),
        (): JsonObject => ({})
      )
      const token = yield* Fields.text(service, "token", "copilot_token.token")
      const expiresAt = yield* Fields.seconds(service, "expires_at", "copilot_token.expires_at")
      const accountType = yield* Fields.text(document, "account_type")
      const refreshIn = yield* Fields.number(service, "refresh_in", "copilot_token.refresh_in")
      const updatedAt = yield* Fields.seconds(document, "updated_at")
      const rest = Fields.without(service, serviceKeys)
      return Option.some(
        Credentials.make({
          accessToken: Option.getOrElse(token, () => github.value),
          refreshToken: github.value,
          expiresAt: Option.isNone(token)
            ? Math.min(
                now,
                Option.getOrElse(createdAt, () => now)
              )
            : Option.getOrUndefined(expiresAt),
          // It was written when the service token came.
          refreshAt: Option.getOrUndefined(
            Option.isNone(token)
              ? Option.none()
              : Option.zipWith(updatedAt, refreshIn, (at, s) => at + s * 1000)
          ),
          scopes: yield* Fields.scopes(oauth.value, "scope", "oauth_token.scope"),
          extras: {
            ...(Option.isSome(accountType) && { account_type: accountType.value }),
            ...(Object.keys(rest).length > 0 && { copilot_token: rest })
          }
        })
      )
    }),
  encode: (credentials, document) => {
    const { account_type: accountType, copilot_token: rest } = Redacted.value(credentials.extras)
    const before = isObject(document["oauth_token"]) ? document["oauth_token"] : {}
    const github = Option.getOrUndefined(Option.map(credentials.refreshToken, Redacted.value))
    const now = Option.getOrUndefined(Option.map(credentials.obtainedAt, toSeconds))
    // What came with another GitHub token says nothing of this one.
    const gone = before["access_token"] === github ? [] : Object.keys(Fields.without(before, oauthKeys))
    return {
      oauth_token: {
        ...Object.fromEntries(gone.map((key) => [key, undefined])),
        access_token: github,
        token_type: before["token_type"] ?? "bearer",
        scope: credentials.scopes.join(" "),
        ...(now !== undefined &&
          (gone.length > 0 || before["created_at"] === undefined) && { created_at: now })
      },
      copilot_token: isPending(credentials)
        ? undefined
        : {
            ...(isObject(rest) && rest),
            token: Redacted.value(credentials.accessToken),
            expires_at: Option.getOrUndefined(Option.map(credentials.expiresAt, toSeconds))
          },
      ...(typeof accountType === "string" && { account_type: accountType }),
      ...(now !== undefined && { updated_at: now, created_at: document["created_at"] ?? now })
    }
  },
  clear: (document) => {
    const ours = ["oauth_token", "copilot_token", "account_type", "created_at", "updated_at"]
    const left = Fields.without(document, ours)
    return Object.keys(left).every((key) => key === "latchkey") ? Option.none() : Option.some(left)
  }
})

const toSeconds = (millis: number): number => Math.floor(millis / 1000)
