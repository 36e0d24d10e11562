/**
 * Malformed fields beside usable tokens, with a manager: they cost neither the token nor a rotation with each
 * call.
 */
import { describe, expect, it } from "@effect/vitest"
import { RefreshLease, type TokenEvent, TokenStorage } from "@latchkey/core"
import { Fault } from "@latchkey/oauth/testing"
import { Effect, Redacted, Stream } from "effect"
import { inWorld, manager } from "./support/world.js"

const second = 1000

describe("a malformed field beside usable tokens", () => {
  it.live.each([
    ["expires_in", null],
    ["expires_in", "soon"],
    ["expires_in", "3600abc"],
    ["expires_in", -1],
    ["expires_in", 1e308],
    ["expires_in", 1_700_003_600],
    ["expires_in", {}],
    ["scope", 7],
    ["id_token", "line\nbreak"],
    ["refresh_in", "soon"]
  ] as const)("%s: %j is left out with a warning; one rotation serves all calls (F9)", ([field, value]) =>
    inWorld({}, (server) =>
      Effect.gen(function* () {
        const lease = yield* RefreshLease.makeProcess
        const of = yield* manager({ storage: yield* TokenStorage.makeMemory(), lease })
        const warnings: Array<TokenEvent.TokenEvent> = []
        yield* Effect.forkScoped(
          Stream.runForEach(of.events, (event) =>
            Effect.sync(() => event._tag === "ResponseWarning" && warnings.push(event))
          )
        )
        yield* of.save(yield* server.issueGrant())
        yield* server.always(Fault.withFields({ [field]: value }))
        const fresh = yield* of.refresh
        for (let call = 0; call < 5; call++) {
          expect(Redacted.value(yield* of.getAccessToken)).toBe(Redacted.value(fresh))
          yield* Effect.sleep(60 * second)
        }
        expect((yield* server.counts).refreshes).toBe(1)
        expect(warnings).toMatchObject([{ field }])
      })
    ).pipe(Effect.orDie)
  )

  it.live(
    "an answer that is of no use again and again is asked for ever more seldom, by all who share the grant",
    () =>
      inWorld({}, (server) =>
        Effect.gen(function* () {
          const storage = yield* TokenStorage.makeMemory()
          const lease = yield* RefreshLease.makeProcess
          const processes = [yield* manager({ storage, lease }), yield* manager({ storage, lease })]
          yield* processes[0]!.save(yield* server.issueGrant())
          yield* server.always(Fault.withFields({ token_type: "mac" }))
          yield* Effect.sleep(7200 * second)
          for (let call = 0; call < 600; call++) {
            yield* Effect.forEach(processes, (of) => Effect.flip(of.getAccessToken))
            yield* Effect.sleep(second)
          }
          // Ten minutes of a call a second, at two processes.
          expect((yield* server.counts).refreshes).toBeLessThanOrEqual(12)
        })
      ).pipe(Effect.orDie)
  )
})
