/**
 * One refresh with one fault, at a server with one policy: whether the grant is lost, and whether the error
 * says so.
 */
import type { Entry } from "@latchkey/core"
import { Credentials, RefreshLease, RotationPolicy } from "@latchkey/core"
import type { Fault } from "@latchkey/oauth/testing"
import { Rotation } from "@latchkey/oauth/testing"
import { Clock, Duration, Effect, Either, Option } from "effect"
import type { Case } from "./faults.js"
import { inWorld, manager, recordingStorage } from "./world.js"

const minute = 60_000
const lifetime = 10 * minute

/** Every policy, with a window that a client with a time-out of 30 s can meet. */
export const policies: ReadonlyArray<Rotation.Rotation> = [
  Rotation.reusable,
  Rotation.strict("Revoke"),
  Rotation.strict("Refuse"),
  Rotation.newPair("2 minutes"),
  Rotation.samePair("2 minutes"),
  Rotation.predecessorValid()
]

/** What a client knows about its server. */
export const told = (rotation: Rotation.Rotation): RotationPolicy.RotationPolicy => {
  switch (rotation._tag) {
    case "Reusable":
      return RotationPolicy.reusable
    case "Strict":
      return RotationPolicy.rotating()
    case "NewPair":
    case "SamePair":
      return RotationPolicy.rotating(rotation.window)
    case "PredecessorValid":
      return RotationPolicy.rotating(Duration.infinity)
  }
}

export interface End {
  /** The errors of the callers that got no token, in the order of time. */
  readonly refusals: ReadonlyArray<string>
  /** Whether any caller got none while the first token was still valid. */
  readonly failedEarly: boolean
  /** Whether the last caller's token is accepted, and the stored refresh token good. */
  readonly alive: boolean
  readonly stored: Entry.Entry
  readonly reuses: number
  /** When refresh tokens were redeemed, in milliseconds before the first token's expiry; negative after it. */
  readonly redeemed: ReadonlyArray<number>
}

/** A caller every five seconds, from the grace of the first token on, for two lives. */
export const meet = (
  rotation: Rotation.Rotation,
  faults: ReadonlyArray<Fault.Fault>,
  policy = told(rotation)
): Effect.Effect<End, unknown> =>
  inWorld({ rotation, accessTokenLifetime: lifetime }, (server) =>
    Effect.gen(function* () {
      const { storage } = yield* recordingStorage()
      const of = yield* manager({
        storage,
        lease: yield* RefreshLease.makeProcess,
        refresher: { rotation: policy }
      })
      const grant = yield* server.issueGrant()
      yield* of.save(grant)
      yield* Effect.sleep(lifetime - 2 * minute)
      yield* server.plan(faults)

      const refusals: Array<string> = []
      let failedEarly = false
      let accepted = false
      const expiry = Option.getOrThrow(grant.expiresAt)
      for (let now = 0; now < expiry + lifetime; now = yield* Clock.currentTimeMillis) {
        const got = yield* Effect.either(of.getAccessToken)
        accepted =
          Either.isRight(got) && (yield* server.accepts(Credentials.make({ accessToken: got.right })))
        if (Either.isLeft(got)) {
          refusals.push(got.left.reason)
          if ((yield* Clock.currentTimeMillis) < expiry) failedEarly = true
        }
        yield* Effect.sleep(5000)
      }
      const { entry } = Option.getOrThrow(yield* storage.load)
      return {
        refusals,
        failedEarly,
        alive: accepted && (yield* server.canRefresh(entry.credentials)),
        stored: entry,
        reuses: (yield* server.counts).reuses,
        redeemed: (yield* server.redemptions).map(({ at }) => expiry - at)
      }
    })
  )

/** Whether anybody could save the grant: not where a spent token is worth nothing and its successor is lost. */
export const canBeSaved = (rotation: Rotation.Rotation, { fate }: Case): boolean =>
  fate !== "lost" || rotation._tag !== "Strict"
