/**
 * A night of twelve hours in a few milliseconds. The test controls the clock and the server, which treats
 * tokens as real servers do. Only the network and the time are replaced: manager, refresher and the client
 * that sends the token are those of production.
 */
import { describe, expect, it } from "@effect/vitest"
import { RefreshLease, RotationPolicy, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import { BearerClient, RefreshToken } from "@latchkey/oauth"
import { Fault, HostileServer, Rotation } from "@latchkey/oauth/testing"
import { Effect, Fiber, Layer, TestClock } from "effect"
import { overnight, reportUrl } from "../src/Reports.js"

const { origin } = new URL(reportUrl)

/** The program's own layers, over a server whose tokens live for 40 minutes. */
const world = (options: HostileServer.Options = {}, rotation = RotationPolicy.rotating()) => {
  const session = TokenManager.layer().pipe(
    Layer.provide([TokenStorage.layerMemory, RefreshLease.layerProcess, TokenConfig.layer()]),
    Layer.provide(
      RefreshToken.layer({ server: HostileServer.server, client: { clientId: "reports" }, rotation })
    )
  )
  return BearerClient.layer({ origins: [origin] }).pipe(
    Layer.provideMerge(session),
    Layer.provideMerge(HostileServer.layer({ accessTokenLifetime: "40 minutes", ...options }))
  )
}

/** Logs in, lets the night pass, and returns the result. */
const night = Effect.gen(function* () {
  const server = yield* HostileServer.HostileServer
  const manager = yield* TokenManager.TokenManager
  yield* manager.save(yield* server.issueGrant())
  const running = yield* Effect.fork(overnight(12))
  yield* TestClock.adjust("12 hours")
  return { ...(yield* Fiber.join(running)), refreshes: (yield* server.counts).refreshes }
})

describe("a night of reports", () => {
  it.effect("fetches twelve, with one refresh for each token that ran out", () =>
    Effect.gen(function* () {
      expect(yield* night).toEqual({ fetched: 12, failed: 0, refreshes: 11 })
    }).pipe(Effect.provide(world()))
  )

  it.effect("survives an answer that is lost, where the server lets a token be used again for a while", () =>
    Effect.gen(function* () {
      const server = yield* HostileServer.HostileServer
      yield* server.faultAt(3, Fault.lostAnswer)
      expect(yield* night).toMatchObject({ fetched: 12, failed: 0 })
      expect((yield* server.counts).replays).toBe(1)
    }).pipe(
      // What the server does, and how the program is configured for it.
      Effect.provide(
        world({ rotation: Rotation.samePair("30 seconds") }, RotationPolicy.rotating("30 seconds"))
      )
    )
  )

  it.effect("loses the reports of an outage, and no login", () =>
    Effect.gen(function* () {
      const server = yield* HostileServer.HostileServer
      const down = server.always(Fault.status(503, { error: "temporarily_unavailable" }))
      yield* Effect.fork(Effect.delay(down, "3.5 hours"))
      yield* Effect.fork(Effect.delay(server.always(Fault.none), "5.5 hours"))
      expect(yield* night).toMatchObject({ fetched: 10, failed: 2 })
    }).pipe(Effect.provide(world()))
  )

  it.effect("does not knock at a server that ended the grant", () =>
    Effect.gen(function* () {
      const server = yield* HostileServer.HostileServer
      const manager = yield* TokenManager.TokenManager
      const grant = yield* server.issueGrant()
      yield* manager.save(grant)
      yield* server.revokeGrant(grant)
      const running = yield* Effect.fork(overnight(12))
      yield* TestClock.adjust("12 hours")
      expect(yield* Fiber.join(running)).toEqual({ fetched: 0, failed: 12 })
      expect((yield* server.counts).byEndpoint.token).toBe(1)
      expect((yield* manager.status).warnings).toContain("GrantDead")
    }).pipe(Effect.provide(world()))
  )
})
