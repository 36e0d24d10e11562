/** When a token expires, by its own claim. */
import * as Jwt from "@latchkey/oauth/Jwt"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"

/** The `exp` of a JWT in epoch milliseconds. None (unknown) if it is not a JWT or has no `exp`. */
export const ofJwt = (token: Redacted.Redacted): Option.Option<number> =>
  Option.filterMap(Jwt.claims(token), ({ exp }) =>
    typeof exp === "number" && Number.isFinite(exp) && exp >= 0 ? Option.some(exp * 1000) : Option.none()
  )

/** Above this (the year 5138), the number must be milliseconds and not seconds. */
export const latestSeconds = 100_000_000_000
