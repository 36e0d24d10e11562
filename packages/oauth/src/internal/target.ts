import * as Either from "effect/Either"
import { invalid, type OAuthConfigError } from "../Endpoint.js"

/** A `scope` parameter (RFC 6749 §3.3). None if there are no scopes. */
export const scope = (scopes: ReadonlyArray<string> | undefined): string | undefined =>
  scopes === undefined || scopes.length === 0 ? undefined : scopes.join(" ")

/** `resource` parameters (RFC 8707 §2), each an absolute URI without a fragment. */
export const resources = (
  input: string | ReadonlyArray<string> | undefined
): Either.Either<ReadonlyArray<string>, OAuthConfigError> => {
  const all = input === undefined ? [] : typeof input === "string" ? [input] : input
  const bad = all.some((uri) => !URL.canParse(uri) || uri.includes("#"))
  return bad
    ? Either.left(invalid("resource", "must be an absolute URI without a fragment"))
    : Either.right(all)
}
