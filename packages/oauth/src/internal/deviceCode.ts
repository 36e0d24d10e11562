/** The device authorization response (RFC 8628 §3.2). */
import * as Credentials from "@latchkey/core/Credentials"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isLoopback } from "../Endpoint.js"

/**
 * What the user must do: open `verificationUri` and enter `userCode`, before `expiresAt` (epoch
 * milliseconds). Show it to the user only: anyone with the code can pretend to be the program that logs in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Prompt {
  readonly userCode: string
  readonly verificationUri: URL
  /** The same with the code included, for a link or a QR code. Show `userCode` beside it (§3.3.1). */
  readonly verificationUriComplete: Option.Option<URL>
  readonly expiresAt: number
}

export interface DeviceCode {
  readonly deviceCode: Redacted.Redacted
  readonly prompt: Prompt
  /** Between polls, in milliseconds. */
  readonly interval: number
}

/** Parses it, or describes the problem. Text for the user is made safe to show. */
export const parse = (
  body: Readonly<Record<string, unknown>>,
  requestedAt: number
): Either.Either<DeviceCode, string> =>
  Either.gen(function* () {
    const deviceCode = yield* token(body, "device_code")
    const userCode = yield* token(body, "user_code")
    // Some servers that predate the RFC say `url`.
    const verificationUri = yield* page(
      body,
      body["verification_uri"] === undefined ? "verification_url" : "verification_uri"
    )
    const complete = body["verification_uri_complete"] == null ? [] : ["verification_uri_complete"]
    const [verificationUriComplete] = yield* Either.all(complete.map((name) => page(body, name)))
    const lifetime = yield* seconds(body, "expires_in", maxLifetime)
    const interval =
      body["interval"] == null ? defaultInterval : yield* seconds(body, "interval", maxInterval)
    return {
      deviceCode: Redacted.make(deviceCode),
      prompt: {
        userCode,
        verificationUri,
        verificationUriComplete: Option.fromNullable(verificationUriComplete),
        expiresAt: requestedAt + lifetime * 1000
      },
      interval: Math.max(interval, shortestInterval) * 1000
    }
  })

/** In seconds (§3.5). */
const defaultInterval = 5

/** A server that says 0 does not want a busy loop. */
const shortestInterval = 1

const token = (body: Readonly<Record<string, unknown>>, name: string): Either.Either<string, string> => {
  const problem = Credentials.tokenProblem(body[name])
  return Option.isSome(problem)
    ? Either.left(`is unusable: ${name} ${problem.value}`)
    : Either.right(String(body[name]))
}

/** A page to open. It refuses URLs that an opener would run as a program. */
const page = (body: Readonly<Record<string, unknown>>, name: string): Either.Either<URL, string> => {
  const value = body[name]
  const url = typeof value === "string" && URL.canParse(value) ? new URL(value) : undefined
  return url !== undefined && (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url)))
    ? Either.right(url)
    : Either.left(`is unusable: ${name} is not an https URL`)
}

/** A larger value is an absolute time, or nonsense. */
const maxLifetime = 1_000_000_000
const maxInterval = 86_400

const seconds = (
  body: Readonly<Record<string, unknown>>,
  name: string,
  most: number
): Either.Either<number, string> => {
  const raw = body[name]
  const value = typeof raw === "string" && /^\d{1,9}$/.test(raw) ? Number(raw) : raw
  return typeof value === "number" && value >= 0 && value <= most
    ? Either.right(value)
    : Either.left(`is unusable: ${name} is not a number of seconds`)
}
