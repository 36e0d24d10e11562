/**
 * The protocol of Bazel's credential helpers, which other build tools share: JSON in, JSON out. Pure.
 *
 * See the [specification](https://github.com/EngFlow/credential-helper-spec/blob/main/spec.md).
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import { type Failure, usage } from "./Failure.js"
import * as HelperToken from "./HelperToken.js"

/**
 * Parses the request of `get`: the scheme and the host of its `uri`. Other properties are ignored.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parse = (
  text: string
): Either.Either<{ readonly scheme: string; readonly host: string }, Failure> => {
  const [, scheme, host] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]+)/i.exec(uriIn(text)) ?? []
  return scheme === undefined || host === undefined
    ? Either.left(
        usage(
          'The request is not {"uri": "https://HOST/…"} in JSON.',
          "let Bazel run it: latchkey setup bazel"
        )
      )
    : Either.right({ scheme: scheme.toLowerCase(), host })
}

const uriIn = (text: string): string => {
  try {
    const request: unknown = JSON.parse(text)
    const uri = (request as { readonly uri?: unknown } | null)?.uri
    return typeof uri === "string" ? uri : ""
  } catch {
    return ""
  }
}

/**
 * Answers `get`. Bazel asks again after `expires`.
 *
 * @since 3.1.0
 * @category answers
 */
export const answer = (token: HelperToken.HelperToken): Either.Either<object, Failure> =>
  Either.map(HelperToken.authorizationOf(token, "Bazel"), (authorization) => ({
    headers: { Authorization: [authorization] },
    ...HelperToken.expiry(token, (at) => ({ expires: HelperToken.timestamp(at) }))
  }))
