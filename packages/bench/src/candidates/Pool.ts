/** Very many accounts in one pool over a storage in memory, with a token server that responds at once. */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManagers from "@latchkey/core/TokenManagers"
import * as TokenRefresher from "@latchkey/core/TokenRefresher"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { wallClock } from "../Peer.js"

const hour = 3_600_000

/** In one piece, like a string from a response or a database. A concatenated string takes more memory. */
const whole = (text: string): string => Buffer.from(text).toString("latin1")

/** A token that no other account has, as long as those of `oidc-provider`. */
export const tokenOf = (kind: "access" | "refresh", n: number): string =>
  whole(`${kind}-${n}`.padEnd(43, "x"))

export const accountOf = (n: number): string => whole(`account-${n}`)

const credentialsOf = (n: number): Credentials.Credentials =>
  Credentials.make({
    accessToken: tokenOf("access", n),
    refreshToken: tokenOf("refresh", n),
    obtainedAt: wallClock(),
    expiresAt: wallClock() + 2 * hour
  })

const answering: Effect.Effect<typeof TokenRefresher.TokenRefresher.Service> = Effect.sync(() => {
  let answered = 0
  return TokenRefresher.make({
    refresh: () => Effect.sync(() => credentialsOf(++answered))
  })
})

/** All accounts in memory, with a fresh token. Lives as long as the process. */
export const poolOf = (accounts: number): Promise<TokenManagers.Managers> => {
  const names = Array.from({ length: accounts }, (_, n) => accountOf(n))
  const entries = function* () {
    for (const [n, name] of names.entries()) yield [name, Entry.first(credentialsOf(n))] as const
  }
  const services = Layer.mergeAll(
    Layer.effect(
      TokenStorages.TokenStorages,
      Effect.suspend(() => TokenStorages.makeMemory(entries()))
    ),
    RefreshLease.layerProcess,
    TokenConfig.layer({ credentialsTtl: "1 day" }),
    Layer.effect(TokenRefresher.TokenRefresher, answering)
  )
  const pool = Effect.gen(function* () {
    const managers = Context.get(
      yield* Layer.build(
        Layer.provide(
          TokenManagers.layerShared({ idleTimeToLive: Infinity, maxAccounts: accounts }),
          services
        )
      ),
      TokenManagers.TokenManagers
    )
    for (const name of names) yield* managers.getAccessToken(name)
    return managers
  })
  return Effect.runPromise(Scope.extend(pool, Effect.runSync(Scope.make())))
}
