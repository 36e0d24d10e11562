/** A short-lived token that does not exist yet: its long-lived token stands in, as if it had expired. */
import { Credentials } from "@latchkey/core/Credentials"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/** Makes a grant of a long-lived token: the token is never served itself, and a refresh is due. */
export const pending = (credentials: Credentials, now: number): Credentials =>
  new Credentials({
    ...credentials,
    refreshToken: Option.some(credentials.accessToken),
    expiresAt: Option.some(now),
    refreshAt: Option.none()
  })

/** Whether the access token only stands in for one that does not exist yet. */
export const isPending = ({ accessToken, refreshToken }: Credentials): boolean =>
  Option.exists(refreshToken, (token) => Redacted.value(token) === Redacted.value(accessToken))
