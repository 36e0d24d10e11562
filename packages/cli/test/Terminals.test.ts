import { Effect, Exit, Option, Redacted, Scope } from "effect"
import { expect, it, vi } from "vitest"
import * as Terminals from "../../bench/src/campaigns/Terminals.js"
import type { RemoteServer } from "../../bench/src/Servers.js"
import * as Provider from "../../oauth/test/Provider.js"

/** The campaign has its server in a process of its own; here it is in this one. */
const start = async ({ accessTokenTtl }: { readonly accessTokenTtl: number }): Promise<RemoteServer> => {
  vi.spyOn(console, "info").mockReturnValue(undefined)
  const scope = Effect.runSync(Scope.make())
  const seen = { requests: 0, answered: 0, failed: 0, mostAtOnce: 0 }
  let active = 0
  const server = await Effect.runPromise(
    Scope.extend(
      Provider.start({
        accessTokenTtl,
        setUp: (provider) =>
          provider.use(async (context, next) => {
            if (context.path !== "/token") return next()
            seen.requests++
            seen.mostAtOnce = Math.max(seen.mostAtOnce, ++active)
            await next()
            active--
            if (context.status === 200) seen.answered++
            else seen.failed++
          })
      }),
      scope
    )
  )
  return {
    issuer: server.issuer,
    login: async () =>
      Redacted.value(Option.getOrThrow((await Effect.runPromise(server.grant())).refreshToken)),
    figures: async () => ({ ...seen }),
    stop: () => void Effect.runFork(Scope.close(scope, Exit.void))
  }
}

it("eight terminals ask in a loop through two expiries: two requests, nobody is logged out", async () => {
  expect(await Terminals.run(2, start)).toMatchObject({
    broken: [],
    errors: 0,
    loggedIn: true,
    mostAtOnce: 1
  })
}, 120_000)
