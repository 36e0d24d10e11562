/** How long a fresh token takes in a fiber, in nanoseconds: the least of many rounds. */
import * as Credentials from "@latchkey/core/Credentials"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"

const operations = 100_000
const rounds = 41

const Services = Layer.mergeAll(
  TokenStorage.layerMemory,
  RefreshLease.layerProcess,
  TokenConfig.layer({ credentialsTtl: "1 day" }),
  Layer.succeed(
    TokenRefresher.TokenRefresher,
    TokenRefresher.makeIndependent(() => Effect.die("a fresh token is not refreshed"))
  )
)
const opened = Effect.flatMap(Layer.build(Services), (context) =>
  Effect.provide(TokenManager.make({ watch: false }), context)
)
const manager = await Effect.runPromise(Scope.extend(opened, Effect.runSync(Scope.make())))
const expiresAt = Effect.runSync(Effect.clockWith((clock) => clock.currentTimeMillis)) + 3_600_000
await Effect.runPromise(manager.save(Credentials.make({ accessToken: "at", refreshToken: "rt", expiresAt })))

/** One fiber for the loop, so that what is measured is the step and not the start of a fiber. */
const round = async (): Promise<number> => {
  let i = 0
  const began = performance.now()
  await Effect.runPromise(
    Effect.whileLoop({
      while: () => i < operations,
      body: () => manager.getAccessToken,
      step: () => void i++
    })
  )
  return ((performance.now() - began) * 1e6) / operations
}

let least = Infinity
for (let n = 0; n < rounds; n++) least = Math.min(least, await round())
process.stdout.write(`${JSON.stringify({ nanoseconds: Math.round(least) })}\n`)
