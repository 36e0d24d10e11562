/** `oidc-provider` on a free loopback port. It takes messages from its parent and ends with it. */
import { Effect, Option, Redacted, Scope } from "effect"
import { setTimeout } from "node:timers/promises"
import * as Provider from "../../../oauth/test/Provider.js"
import type { ServerFigures } from "../Servers.js"
import { Unlimited } from "../Unlimited.js"

const seen = { requests: 0, answered: 0, failed: 0, mostAtOnce: 0 } satisfies ServerFigures
let active = 0
const answersAfter = Number(process.argv[3] ?? 0)

const server = await Effect.runPromise(
  Provider.start({
    accessTokenTtl: Number(process.argv[2]),
    configuration: {
      adapter: Unlimited,
      ttl: { AccessToken: Number(process.argv[2]), IdToken: 60, RefreshToken: 36_000, Grant: 36_000 }
    },
    setUp: (provider) =>
      provider.use(async (context, next) => {
        if (context.path !== "/token") return next()
        seen.requests++
        seen.mostAtOnce = Math.max(seen.mostAtOnce, ++active)
        await next()
        if (answersAfter > 0) await setTimeout(answersAfter)
        active--
        if (context.status === 200) seen.answered++
        else seen.failed++
      })
  }).pipe(Scope.extend(Effect.runSync(Scope.make())))
)

const login = Effect.map(server.grant({ scope: "openid profile offline_access" }), (credentials) =>
  Redacted.value(Option.getOrThrow(credentials.refreshToken))
)

process.on("message", (question) => {
  if (question === "login") void Effect.runPromise(login).then((token) => process.send?.(token))
  else process.send?.(seen)
})
process.on("disconnect", () => process.exit(0))
process.send?.(server.issuer)
