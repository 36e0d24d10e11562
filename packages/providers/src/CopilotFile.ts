/**
 * The credential file of Copilot: `oauth_token`, GitHub's long-lived token, which is the refresh token here,
 * and `copilot_token`, the service token that callers get. Instants are epoch seconds.
 *
 * Without a service token, the GitHub token stands in as an expired access token: it is never served, and a
 * refresh is due.
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
 * Which grant in an editor's file belongs to the provider.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The server of the grant: `github.com`, or that of an enterprise. */
  readonly host: string
  /** The app that it was issued to, for a file with the grants of several apps. */
  readonly clientId?: string | undefined
}

/**
 * Creates the format of such a file. The extras hold `account_type`, and under `copilot_token` the other
 * fields of the service token: its endpoints, features, `refresh_in`.
 *
 * The files of Copilot's editor plug-ins (`apps.json`, `hosts.json`) and of Copilot CLI (`config.json`) are
 * read too, and never written: they hold only GitHub's tokens, one for each server.
 *
 * @since 0.1.0
 * @category formats
 */
export const make = (options: Options): FileFormat.FileFormat =>
  FileFormat.foreign({
    at: [],
    decode: (document, now) =>
      isOthers(document) ? decodeOthers(options, document, now) : decode(document, now),
    encode,
    problem: (credentials, document, { sameGrant }) =>
      isOthers(document)
        ? Option.some({
            reason: "Denied",
            path: "the document",
            problem:
              "is that of an editor's plug-in or of Copilot CLI, which is only read: import its grant, or give another file"
          })
        : sameGrant || Option.isSome(credentials.refreshToken)
          ? Option.none()
          : Option.some(
              Fields.incomplete(
                "oauth_token.access_token",
                "is missing, the GitHub token that brings all others: log in again"
              )
            ),
    clear: (document) => {
      if (isOthers(document)) return Option.some(document)
      const ours = ["oauth_token", "copilot_token", "account_type", "created_at", "updated_at"]
      const left = Fields.without(document, ours)
      return Object.keys(left).every((key) => key === "latchkey") ? Option.none() : Option.some(left)
    }
  })

const decode = (document: JsonObject, now: number) =>
  Either.gen(function* () {
    const oauth = Option.getOrElse(yield* Fields.object(document, "oauth_token"), (): JsonObject => ({}))
    const github = yield* Fields.token(oauth, "access_token", "oauth_token.access_token")
    const service = Option.getOrElse(yield* Fields.object(document, "copilot_token"), (): JsonObject => ({}))
    const token = yield* Fields.token(service, "token", "copilot_token.token")
    // Without GitHub's token nothing can renew the service token: nobody is logged in.
    if (Option.isNone(github)) return Option.none()
    const createdAt = yield* Fields.seconds(oauth, "created_at", "oauth_token.created_at")
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
        scopes: yield* Fields.scopes(oauth, "scope", "oauth_token.scope"),
        extras: {
          ...(Option.isSome(accountType) && { account_type: accountType.value }),
          ...(Object.keys(rest).length > 0 && { copilot_token: rest })
        }
      })
    )
  })

const encode: FileFormat.ForeignOptions["encode"] = (credentials, document, { sameGrant }) => {
  const { account_type: accountType, copilot_token: rest } = Redacted.value(credentials.extras)
  const before = isObject(document["oauth_token"]) ? document["oauth_token"] : {}
  const service = isObject(document["copilot_token"]) ? document["copilot_token"] : {}
  const github = Option.getOrUndefined(Option.map(credentials.refreshToken, Redacted.value))
  const now = Option.getOrUndefined(Option.map(credentials.obtainedAt, toSeconds))
  const isNew = !sameGrant || before["access_token"] !== github
  // Fields that came with another GitHub token do not apply to this one.
  const gone = isNew ? Fields.removed(before, oauthKeys) : {}
  return {
    oauth_token: {
      ...gone,
      access_token: github,
      token_type: before["token_type"] ?? "bearer",
      scope: credentials.scopes.join(" "),
      ...(isNew ? { created_at: now } : before["created_at"] === undefined && { created_at: now })
    },
    copilot_token: isPending(credentials)
      ? undefined
      : {
          ...(isNew && Fields.removed(service)),
          ...(isObject(rest) && rest),
          token: Redacted.value(credentials.accessToken),
          expires_at: Option.getOrUndefined(Option.map(credentials.expiresAt, toSeconds))
        },
    ...(typeof accountType === "string"
      ? { account_type: accountType }
      : !sameGrant && { account_type: undefined }),
    ...(now !== undefined && {
      updated_at: now,
      created_at: sameGrant ? (document["created_at"] ?? now) : now
    })
  }
}

/** Whether a document belongs to an editor or to Copilot CLI: its keys are servers and apps. */
const isOthers = (document: JsonObject): boolean =>
  !("oauth_token" in document) &&
  !("copilot_token" in document) &&
  (commandTokens(document) !== undefined || loginsOf(document).length > 0)

/** The tokens in Copilot CLI's file, by `https://server:user`, if there are any. */
const commandTokens = (document: JsonObject): JsonObject | undefined =>
  [document["copilot_tokens"], document["copilotTokens"]].find(isObject) ??
  ("logged_in_users" in document || "loggedInUsers" in document ? {} : undefined)

interface Login {
  readonly key: string
  /** `github.com`, without what follows it. */
  readonly host: string
  readonly app: string | undefined
  readonly user: string | undefined
  readonly token: unknown
}

/** The logins in the files of the editors, by `server` or `server:app`. */
const loginsOf = (document: JsonObject): ReadonlyArray<Login> =>
  Object.entries(document).flatMap(([key, value]) => {
    if (!isObject(value) || !("oauth_token" in value)) return []
    const { oauth_token: token, user } = value
    const [, host = key, app] = /^([^:]+(?::\d+)?)(?::(.+))?$/.exec(key) ?? []
    return [{ key, host, app, user: typeof user === "string" ? user : undefined, token }]
  })

const commandLogins = (tokens: JsonObject): ReadonlyArray<Login> =>
  Object.entries(tokens).map(([key, token]) => {
    const [, host = key, user] = /^(?:https?:\/\/)?([^:]+(?::\d+)?)(?::(.+))?$/.exec(key) ?? []
    return { key, host, app: undefined, user, token }
  })

const decodeOthers = ({ clientId, host }: Options, document: JsonObject, now: number) =>
  Either.gen(function* () {
    const tokens = commandTokens(document)
    const logins = tokens === undefined ? loginsOf(document) : commandLogins(tokens)
    const wrong = logins.find(({ token }) => token !== null && typeof token !== "string")
    if (wrong !== undefined)
      return yield* Either.left(Fields.malformed(wrong.key, "holds no string as its token"))
    const held = logins.filter(({ token }) => typeof token === "string" && token.trim() !== "")
    const here = held.filter((login) => login.host.toLowerCase() === host.toLowerCase())
    const ours = here.filter(({ app }) => app === clientId)
    const candidates = ours.length > 0 ? ours : here
    const users = new Set(candidates.map(({ user }) => user))
    const [found] = candidates
    if (found !== undefined && users.size === 1) {
      const token = found.token as string
      return Option.some(
        Credentials.make({
          accessToken: token,
          refreshToken: token,
          expiresAt: now,
          extras: found.user === undefined ? {} : { github_user: found.user }
        })
      )
    }
    if (found !== undefined) {
      const which = candidates.map(({ key }) => key).join(", ")
      return yield* Either.left(
        noGrant(`holds the grants of several users of ${host} (${which}), and it is unclear which one to use`)
      )
    }
    const others = [...new Set(held.map((login) => login.host))]
    if (others.length > 0) {
      return yield* Either.left(
        noGrant(
          `holds no grant of ${host}, but one of ${others.join(", ")}: for that, add a provider that extends copilot, with that server's endpoints`
        )
      )
    }
    return tokens === undefined
      ? Option.none()
      : yield* Either.left(
          noGrant("holds no token: Copilot CLI keeps it in the keychain, which is not read here")
        )
  })

const noGrant = (problem: string): FileFormat.FormatProblem => ({
  reason: "NoGrant",
  path: "the document",
  problem
})

const toSeconds = (millis: number): number => Math.floor(millis / 1000)

/**
 * {@link make} for the grants of `github.com`.
 *
 * @since 0.1.0
 * @category formats
 */
export const format: FileFormat.FileFormat = make({ host: "github.com" })
