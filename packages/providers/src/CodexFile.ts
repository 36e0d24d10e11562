/**
 * The credential file of the Codex command: `tokens` in `~/.codex/auth.json`. The expiry is the `exp` of the
 * access token, and the account is a claim of the ID token. An API key beside the tokens stays. If there is
 * only an API key, the result is `NoGrant`. A new grant is written so that Codex uses it: with `auth_mode`,
 * and with all fields that Codex requires. If one is missing, the write fails (`Incomplete`).
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

/** The key of the credentials' extras that carries the rest of `tokens`. */
const restKey = "codex_tokens"

/** The registration that Codex makes for the account of the grant, and its key in the extras. */
const agentKey = "agent_identity"
const agentExtra = "codex_agent_identity"

/** The claim of the ID token that names the account. `sub` is the login, not the account. */
const accountClaim = ["https://api.openai.com/auth", "chatgpt_account_id"]

/**
 * The credentials in such a file.
 *
 * @since 0.1.0
 * @category formats
 */
export const format: FileFormat.FileFormat = FileFormat.foreign({
  at: [],
  derivesExpiry: true,
  decode: (document, now) =>
    Either.gen(function* () {
      const section = Option.getOrElse(yield* Fields.object(document, "tokens"), (): JsonObject => ({}))
      const tokens = yield* Fields.tokens(
        section,
        { access: "access_token", refresh: "refresh_token" },
        "tokens."
      )
      if (Option.isNone(tokens)) {
        return Option.isSome(textAt(document, ["OPENAI_API_KEY"]))
          ? yield* Either.left(apiKeyOnly)
          : Option.none()
      }
      const { accessToken, refreshToken } = tokens.value
      const idToken = yield* Fields.token(section, "id_token", "tokens.id_token")
      const account = yield* Fields.token(section, "account_id", "tokens.account_id")
      const expiresAt = Expiry.ofJwt(Redacted.make(accessToken))
      const wrongUnit = Option.flatMap(expiresAt, (at) => Entry.instantProblem(at, now))
      if (Option.isSome(wrongUnit)) {
        return yield* Either.left<FileFormat.FormatProblem>({
          reason: "WrongUnit",
          path: "tokens.access_token",
          problem: "has an exp that is not a time in epoch seconds"
        })
      }
      const rest = Fields.without(section, known)
      const { [agentKey]: agent } = document
      return Option.some(
        Credentials.make({
          accessToken,
          refreshToken,
          idToken: Option.getOrUndefined(idToken),
          obtainedAt: Option.getOrUndefined(yield* lastRefresh(document)),
          expiresAt: Option.getOrUndefined(expiresAt),
          // Other programs have written the subject there. The claim is right.
          accountId: Option.getOrUndefined(Option.orElse(Option.flatMap(idToken, accountIn), () => account)),
          extras: {
            ...(Object.keys(rest).length > 0 && { [restKey]: rest }),
            ...(agent !== undefined && agent !== null && { [agentExtra]: agent })
          }
        })
      )
    }),
  encode: (credentials, document, { sameGrant }) => {
    const { [agentExtra]: agent, [restKey]: rest } = Redacted.value(credentials.extras)
    const section = isObject(document["tokens"]) ? document["tokens"] : {}
    const secret = Option.map(Redacted.value<string>)
    const idToken = secret(credentials.idToken)
    const account = Option.orElse(credentials.accountId, () => Option.flatMap(idToken, accountIn))
    return {
      tokens: {
        ...(!sameGrant && Fields.removed(section)),
        ...(isObject(rest) && Fields.without(rest, [...known, ...(sameGrant ? Object.keys(section) : [])])),
        ...present("id_token", idToken),
        access_token: Redacted.value(credentials.accessToken),
        refresh_token: Option.getOrUndefined(secret(credentials.refreshToken)),
        ...present("account_id", account)
      },
      ...(!sameGrant && {
        // Codex uses the mode that this names. Without it, Codex uses the API key, if there is one.
        auth_mode: "chatgpt",
        last_refresh: undefined,
        [agentKey]: agent
      }),
      ...present(
        "last_refresh",
        Option.map(credentials.obtainedAt, (at) => DateTime.formatIso(DateTime.unsafeMake(at)))
      )
    }
  },
  problem: (credentials, _, { sameGrant }) =>
    sameGrant
      ? Option.none()
      : Option.map(lacking(credentials), ([key, problem]) =>
          Fields.incomplete(
            `tokens.${key}`,
            `${problem}: log in again, or import the grant from a file that has it`
          )
        ),
  // Codex's own logout removes the file. An API key belongs to the user, though, and stays: without
  // `auth_mode` Codex uses it.
  clear: (document) => {
    const {
      OPENAI_API_KEY: apiKey,
      auth_mode: mode,
      ...others
    } = Fields.without(document, [...["tokens", "last_refresh", agentKey]])
    const left = {
      ...(typeof apiKey === "string" && apiKey.trim() !== "" && { OPENAI_API_KEY: apiKey }),
      ...(mode !== undefined && mode !== null && mode !== "chatgpt" && { auth_mode: mode }),
      ...others
    }
    return Object.keys(left).every((key) => key === "latchkey" || key === "auth_mode")
      ? Option.none()
      : Option.some(left)
  }
})

/** What Codex cannot work without: the key, and the problem with it. */
const lacking = (credentials: Credentials.Credentials): Option.Option<readonly [string, string]> => {
  const unread = "and Codex reads no file without it"
  if (Option.isNone(credentials.idToken)) return Option.some(["id_token", `is missing, ${unread}`])
  if (!isRead(credentials.idToken.value)) {
    return Option.some([
      "id_token",
      "is not a JWT that Codex can read, and then Codex reads no part of the file"
    ])
  }
  if (Option.isNone(credentials.refreshToken)) return Option.some(["refresh_token", `is missing, ${unread}`])
  const account = Option.orElse(credentials.accountId, () =>
    accountIn(Redacted.value(Option.getOrThrow(credentials.idToken)))
  )
  return Option.isSome(account)
    ? Option.none()
    : Option.some([
        "account_id",
        "is missing, also as a claim of the id token, and Codex makes no request without it"
      ])
}

/** Codex requires three parts, and in the claims that it knows a text, an object, or nothing. */
const isRead = (idToken: Redacted.Redacted): boolean => {
  const parts = Redacted.value(idToken).split(".")
  if (parts.length < 3 || parts.slice(0, 3).includes("")) return false
  return Option.exists(Jwt.claims(idToken), (claims) => {
    const [at] = accountClaim
    const inner = ["https://api.openai.com/profile", at!].map((key) => claims[key] ?? {})
    return (
      isTextOrNone(claims["email"]) &&
      inner.every(isObject) &&
      isTextOrNone((inner[0] as JsonObject)["email"]) &&
      ["chatgpt_plan_type", "chatgpt_user_id", "user_id", "chatgpt_account_id"].every((key) =>
        isTextOrNone((inner[1] as JsonObject)[key])
      )
    )
  })
}

const isTextOrNone = (value: unknown): boolean =>
  value === undefined || value === null || typeof value === "string"

const apiKeyOnly: FileFormat.FormatProblem = {
  reason: "NoGrant",
  path: "tokens",
  problem: "are missing: the file holds an API key, which is not an OAuth grant and cannot be refreshed"
}

const accountIn = (idToken: string): Option.Option<string> =>
  Option.flatMap(Jwt.claims(Redacted.make(idToken)), (claims) => textAt(claims, accountClaim))

const lastRefresh = (document: JsonObject): Either.Either<Option.Option<number>, FileFormat.FormatProblem> =>
  Either.map(Fields.text(document, "last_refresh"), (text) =>
    Option.map(Option.flatMap(text, DateTime.make), DateTime.toEpochMillis)
  )

const present = (key: string, value: Option.Option<string>): JsonObject =>
  Option.match(value, { onNone: () => ({}), onSome: (v) => ({ [key]: v }) })
