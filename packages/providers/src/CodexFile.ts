/**
 * The credential file of the Codex command: `tokens` in `~/.codex/auth.json`. The expiry is the `exp` of the
 * access token, the account a claim of the id token. An API key beside the tokens stays; where there is
 * nothing else, it is told as `NoGrant`.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as Jwt from "@latchkey/oauth/Jwt"
import * as FileFormat from "@latchkey/storage/FileFormat"
import * as DateTime from "effect/DateTime"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Expiry from "./internal/expiry.js"
import * as Fields from "./internal/fields.js"
import { isObject, type JsonObject, textAt } from "./internal/json.js"

const known = ["access_token", "refresh_token", "id_token", "account_id"]

/** Under which key of the credentials' extras the rest of `tokens` travels. */
const restKey = "codex_tokens"

/** Where the id token names the account; `sub` is the login, not the account. */
const accountClaim = ["https://api.openai.com/auth", "chatgpt_account_id"]

/**
 * The credentials in such a file.
 *
 * @since 0.1.0
 * @category formats
 */
export const format: FileFormat.FileFormat = FileFormat.foreign({
  at: [],
  decode: (document, now) =>
    Either.gen(function* () {
      const found = yield* Fields.object(document, "tokens")
      if (Option.isNone(found) || Object.keys(found.value).length === 0) {
        return Option.isSome(textAt(document, ["OPENAI_API_KEY"]))
          ? yield* Either.left(apiKeyOnly)
          : Option.none()
      }
      const tokens = found.value
      const text = (key: string) => Fields.text(tokens, key, `tokens.${key}`)
      const accessToken = yield* text("access_token")
      if (Option.isNone(accessToken)) {
        return yield* Either.left(Fields.malformed("tokens.access_token", "is missing"))
      }
      const idToken = yield* text("id_token")
      const account = yield* text("account_id")
      const expiresAt = Expiry.ofJwt(Redacted.make(accessToken.value))
      const wrongUnit = Option.flatMap(expiresAt, (at) => Entry.instantProblem(at, now))
      if (Option.isSome(wrongUnit)) {
        return yield* Either.left<FileFormat.FormatProblem>({
          reason: "WrongUnit",
          path: "tokens.access_token",
          problem: "has an exp that is no time in epoch seconds"
        })
      }
      const rest = Fields.without(tokens, known)
      return Option.some(
        Credentials.make({
          accessToken: accessToken.value,
          refreshToken: Option.getOrUndefined(yield* text("refresh_token")),
          idToken: Option.getOrUndefined(idToken),
          obtainedAt: Option.getOrUndefined(yield* lastRefresh(document)),
          expiresAt: Option.getOrUndefined(expiresAt),
          // Other writers have put the subject there: the claim is right.
          accountId: Option.getOrUndefined(
            Option.orElse(Option.flatMap(idToken, accountIn), () =>
              Option.filter(account, (a) => a.trim() !== "")
            )
          ),
          extras: Object.keys(rest).length > 0 ? { [restKey]: rest } : {}
        })
      )
    }),
  encode: (credentials, document) => {
    const { [restKey]: rest } = Redacted.value(credentials.extras)
    const tokens = isObject(document["tokens"]) ? document["tokens"] : {}
    const secret = Option.map(Redacted.value<string>)
    return {
      tokens: {
        ...(isObject(rest) && Fields.without(rest, [...known, ...Object.keys(tokens)])),
        ...present("id_token", secret(credentials.idToken)),
        access_token: Redacted.value(credentials.accessToken),
        refresh_token: Option.getOrUndefined(secret(credentials.refreshToken)),
        ...present("account_id", credentials.accountId)
      },
      ...present(
        "last_refresh",
        Option.map(credentials.obtainedAt, (at) => DateTime.formatIso(DateTime.unsafeMake(at)))
      )
    }
  },
  clear: (document) => {
    const left = Fields.without(document, ["tokens", "last_refresh"])
    return Object.keys(left).every((key) => key === "latchkey") ? Option.none() : Option.some(left)
  }
})

const apiKeyOnly: FileFormat.FormatProblem = {
  reason: "NoGrant",
  path: "tokens",
  problem: "are not there: the file holds an API key, which is no OAuth grant and cannot be refreshed"
}

const accountIn = (idToken: string): Option.Option<string> =>
  Option.flatMap(Jwt.claims(Redacted.make(idToken)), (claims) => textAt(claims, accountClaim))

const lastRefresh = (document: JsonObject): Either.Either<Option.Option<number>, FileFormat.FormatProblem> =>
  Either.map(Fields.text(document, "last_refresh"), (text) =>
    Option.map(Option.flatMap(text, DateTime.make), DateTime.toEpochMillis)
  )

const present = (key: string, value: Option.Option<string>): JsonObject =>
  Option.match(value, { onNone: () => ({}), onSome: (v) => ({ [key]: v }) })
