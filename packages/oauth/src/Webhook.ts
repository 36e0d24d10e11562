/**
 * Sends the notices of `AccountNotices` to an address of yours: an account needs its user, or has recovered.
 *
 * A message is signed as Standard Webhooks says (https://www.standardwebhooks.com), so that a receiver in any
 * language can use an existing library: `webhook-id`, `webhook-timestamp` in seconds, and `webhook-signature`,
 * an HMAC-SHA-256 over `id.timestamp.body`. The body names the account and holds no token:
 *
 * ```json
 * { "id": "…", "type": "account.needs_login", "account": "alice", "at": "2026-01-01T00:00:00.000Z" }
 * ```
 *
 * A message is repeated until the receiver answers with 2xx, so it may arrive twice and out of order: drop an
 * `id` that you know, and compare `at`. Messages wait in memory. If the process ends, or the receiver is away
 * for longer than the attempts last, they are lost: `GET /accounts?state=Dead` of `Accounts` has the whole list.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type * as AccountNotice from "@latchkey/core/AccountNotice"
import { AccountNotices } from "@latchkey/core/AccountNotices"
import { isoOf } from "@latchkey/core/AccountReport"
import type * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as oauth from "oauth4webapi"
import { check, invalid, type OAuthConfigError } from "./Endpoint.js"
import * as Signing from "./internal/signing.js"
import * as Wire from "./Wire.js"

/**
 * A message as it is sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Message {
  readonly id: string
  readonly body: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Where the messages go: https, or http to this machine. Redirects are not followed. */
  readonly url: string
  /**
   * The secrets that sign, each `whsec_` and the base64 of 24 to 64 bytes. To rotate, give the new one in
   * addition to the old one: a message then has a signature of each.
   */
  readonly secrets: Arr.NonEmptyReadonlyArray<Redacted.Redacted>
  /** How often a message is sent at most. The pauses grow from 5 seconds to an hour. Default: 10. */
  readonly attempts?: number
}

/** How many messages are on their way at a time. */
const together = 8

const longestPause = 3_600_000

/** 5 s, 15 s, 45 s, 2 min, 7 min, 20 min, 1 h, 1 h …, each up to a fifth longer or shorter. */
const pauseAfter = (sent: number): Effect.Effect<void> =>
  Effect.flatMap(Random.next, (random) =>
    Effect.sleep(Math.min(5000 * 3 ** (sent - 1), longestPause) * (0.8 + 0.4 * random))
  )

/**
 * Returns the message of a notice. Pure.
 *
 * @since 0.1.0
 * @category constructors
 */
export const message = (notice: AccountNotice.AccountNotice): Message => ({
  id: notice.id,
  body: JSON.stringify({
    id: notice.id,
    type: types[notice._tag],
    account: notice.account,
    at: Option.getOrNull(isoOf(notice.at))
  })
})

const types: Readonly<Record<AccountNotice.AccountNotice["_tag"], string>> = {
  NeedsLogin: "account.needs_login",
  Recovered: "account.recovered"
}

/**
 * Sends the notices until the scope closes. Fails if the settings cannot work. A message that no attempt could
 * deliver is logged as a warning, with its account.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<void, OAuthConfigError, AccountNotices | HttpClient | Scope.Scope> =>
  Effect.gen(function* () {
    const { attempts = 10 } = options
    const url = yield* check("url", options.url)
    if (!(Number.isSafeInteger(attempts) && attempts > 0)) {
      return yield* invalid("attempts", "must be a whole number, 1 at least")
    }
    const keys = yield* keysOf(options.secrets)
    const { notices } = yield* AccountNotices
    const wire = yield* Wire.make({ timeout: "15 seconds" })

    const attempt = ({ body, id }: Message) =>
      Effect.gen(function* () {
        // Signed anew each time: receivers refuse an old time.
        const timestamp = Math.floor((yield* Clock.currentTimeMillis) / 1000)
        const headers = yield* Signing.headers(keys, { id, timestamp, body })
        const { status } = yield* wire.send(
          ({ [oauth.customFetch]: send }) =>
            send(url.href, { method: "POST", redirect: "manual", headers: { ...headers }, body }),
          "json"
        )
        if (status < 200 || status > 299) return yield* Effect.fail({ message: `it answered ${status}` })
      })

    const repeated = (message: Message, sent = 1): ReturnType<typeof attempt> =>
      Effect.catchAll(attempt(message), (problem) =>
        sent < attempts ? Effect.andThen(pauseAfter(sent), repeated(message, sent + 1)) : Effect.fail(problem)
      )

    const deliver = (notice: AccountNotice.AccountNotice) =>
      repeated(message(notice)).pipe(
        // One message that dies of a defect does not stop the others. The defect is dropped: it may hold a secret.
        Effect.catchAllDefect(() => Effect.fail({ message: "an unexpected error" })),
        Effect.catchAll((problem) =>
          Effect.logWarning(
            `latchkey: a webhook message was not delivered: ${notice._tag} of ${notice.account}: ${problem.message}`
          )
        )
      )

    yield* notices.pipe(
      Stream.mapEffect(deliver, { concurrency: together, unordered: true }),
      Stream.runDrain,
      Effect.forkScoped
    )
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never, OAuthConfigError, AccountNotices | HttpClient> =>
  Layer.scopedDiscard(make(options))

/**
 * {@link layer} from settings. Defaults: `AUTH__WEBHOOK_URL`, and the secrets in `AUTH__WEBHOOK_SECRETS`,
 * separated by commas or white space. The settings themselves have no default.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  settings: { readonly url?: string; readonly secrets?: string } = {}
): Layer.Layer<never, OAuthConfigError | ConfigError.ConfigError, AccountNotices | HttpClient> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const url = yield* Config.string(settings.url ?? "AUTH__WEBHOOK_URL")
      const value = yield* Config.redacted(settings.secrets ?? "AUTH__WEBHOOK_SECRETS")
      const [first = "", ...others] = Redacted.value(value)
        .trim()
        .split(/[\s,]+/)
      yield* make({ url, secrets: [Redacted.make(first), ...others.map((secret) => Redacted.make(secret))] })
    })
  )

/**
 * Whether a message comes from the holder of one of the secrets, and was signed at most five minutes before or
 * after `now`, in epoch milliseconds: for a receiver in TypeScript. `body` is the text as it arrived. Header
 * names are lower-case. Fails if a secret cannot be one.
 *
 * @since 0.1.0
 * @category validation
 */
export const verify = (
  secrets: Arr.NonEmptyReadonlyArray<Redacted.Redacted>,
  headers: Readonly<Record<string, string | undefined>>,
  body: string,
  now: number
): Effect.Effect<boolean, OAuthConfigError> =>
  Effect.flatMap(keysOf(secrets), (keys) => Signing.verify(keys, headers, body, now))

const prefix = "whsec_"
const fewest = 24
const most = 64

const keysOf = (secrets: Arr.NonEmptyReadonlyArray<Redacted.Redacted>) =>
  Effect.forEach(secrets, (secret, index) => {
    const text = Redacted.value(secret)
    const bytes = text.startsWith(prefix)
      ? Either.getOrUndefined(Encoding.decodeBase64(text.slice(prefix.length)))
      : undefined
    return bytes !== undefined && bytes.length >= fewest && bytes.length <= most
      ? Signing.importKey(Uint8Array.from(bytes))
      : invalid(
          `secrets[${index}]`,
          "must be whsec_ and the base64 of 24 to 64 bytes: make one with echo whsec_$(openssl rand -base64 32)"
        )
  })
