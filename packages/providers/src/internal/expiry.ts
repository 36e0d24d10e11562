/** When a token expires, by its own word. */
import * as Jwt from "@latchkey/oauth/Jwt"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"

/** The `exp` of a JWT in epoch milliseconds; none where it is no JWT or says nothing: then it is unknown. */
export const ofJwt = (token: Redacted.Redacted): Option.Option<number> =>
  Option.flatMap(Jwt.claims(token), ({ exp }) =>
    typeof exp === "number" && Number.isFinite(exp) && exp >= 0 ? Option.some(exp * 1000) : Option.none()
  )

/** Above this, seconds are milliseconds: the year 5138. */
export const latestSeconds = 100_000_000_000
