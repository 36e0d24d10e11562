/** A fresh token in a fiber, for measurements of both editions. */
import * as Credentials from "@latchkey/core/Credentials"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"

const Services = Layer.mergeAll(
  TokenStorage.layerMemory,
  RefreshLease.layerProcess,
  TokenConfig.layer({ credentialsTtl: "1 day" }),
  Layer.succeed(
    TokenRefresher.TokenRefresher,
    TokenRefresher.makeIndependent(() => Effect.die("a fresh token is not refreshed"))
  )
)

/** Creates a manager with a fresh token. Returns a function that takes that token `n` times. */
export const open = async (): Promise<(n: number) => Promise<void>> => {
  const opened = Effect.flatMap(Layer.build(Services), (context) =>
    Effect.provide(TokenManager.make({ watch: false }), context)
  )
  const manager = await Effect.runPromise(Scope.extend(opened, Effect.runSync(Scope.make())))
  const now = Effect.runSync(Effect.clockWith((clock) => clock.currentTimeMillis))
  await Effect.runPromise(
    manager.save(Credentials.make({ accessToken: "at", refreshToken: "rt", expiresAt: now + 3_600_000 }))
  )
  // One fiber for the loop, so that the step is measured and not the start of a fiber.
  return (n) => {
    let i = 0
    return Effect.runPromise(
      Effect.orDie(
        Effect.whileLoop({ while: () => i < n, body: () => manager.getAccessToken, step: () => void i++ })
      )
    )
  }
}
