/** `oidc-provider` on a free loopback port, told by messages from its parent; ends with it. */
import { Credentials } from "@latchkey/core"
import { Effect, Option, Redacted, Scope } from "effect"
import * as Provider from "../../../oauth/test/Provider.js"

const server = await Effect.runPromise(
  Provider.start({ accessTokenTtl: 60 }).pipe(Scope.extend(Effect.runSync(Scope.make())))
)

const refreshToken = (credentials: Credentials.Credentials): string =>
  Redacted.value(Option.getOrThrow(credentials.refreshToken))

process.on("message", () => {
  void Effect.runPromise(server.grant()).then((credentials) => process.send?.(refreshToken(credentials)))
})
process.on("disconnect", () => process.exit(0))
process.send?.(server.issuer)
