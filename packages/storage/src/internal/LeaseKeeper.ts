/** The lease port over a backend that can grant, renew, look at and end a lease, each in one atomic step. */
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import { LeaseError, ttlMillis } from "@latchkey/core/RefreshLease"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { hostname } from "node:os"
import type { Holder, Proofs } from "./HolderProof.js"
import { type ServerProblem, toLeaseError } from "./ServerProblem.js"

/** The answer to who asks for a lease. */
export type Answer =
  | {
      readonly _tag: "Granted"
      readonly fence: number
      /** Whose lease had lapsed or was taken, where that is known. */
      readonly previous: Option.Option<string>
    }
  | { readonly _tag: "Busy"; readonly owner: string; readonly holder: string }

export interface Request {
  readonly account: string
  readonly owner: string
  /** Who asks, for people. */
  readonly holder: string
  readonly ttl: number
  /** An owner known to be dead: its lease is granted anew before its time. */
  readonly over: Option.Option<string>
}

export interface Backend {
  readonly grant: (request: Request) => Effect.Effect<Answer, ServerProblem>
  /** Whether there was still a lease of this owner to renew. */
  readonly renew: (account: string, owner: string, ttl: number) => Effect.Effect<boolean, ServerProblem>
  readonly isHeld: (account: string, owner: string) => Effect.Effect<boolean, ServerProblem>
  readonly release: (account: string, owner: string) => Effect.Effect<void, ServerProblem>
}

const holder = `process ${process.pid} on ${hostname()}`

export const make = (backend: Backend, proofs: Proofs): Context.Tag.Service<RefreshLease> => ({
  acquire: (account, ttl) =>
    Effect.gen(function* () {
      const millis = yield* ttlMillis(account, ttl)
      const { fence, mine } = yield* Effect.acquireRelease(begin(backend, proofs, account, millis), (held) =>
        end(backend, account, held.mine)
      )
      yield* Effect.forkScoped(Effect.interruptible(renewal(backend, account, mine.owner, millis)))
      return { fence, isHeld: Effect.mapError(backend.isHeld(account, mine.owner), toLeaseError(account)) }
    })
})

interface Held {
  readonly fence: number
  readonly mine: Holder
}

const begin = (
  backend: Backend,
  proofs: Proofs,
  account: string,
  ttl: number
): Effect.Effect<Held, LeaseError> =>
  Effect.flatMap(proofs.begin, (mine) =>
    grant(backend, proofs, { account, owner: mine.owner, holder, ttl, over: Option.none() }).pipe(
      // Whether it was granted may be unknown: it is given up in the background, and else it lapses.
      Effect.onError(() =>
        Effect.forkDaemon(
          Effect.zipRight(Effect.ignore(backend.release(account, mine.owner)), mine.end(true))
        )
      ),
      Effect.mapError(toLeaseError(account)),
      Effect.flatMap((answer) =>
        answer._tag === "Granted"
          ? Effect.succeed({ fence: answer.fence, mine })
          : Effect.zipRight(
              mine.end(true),
              new LeaseError({
                reason: "Busy",
                account,
                holder: answer.holder,
                message: "Another process is refreshing this grant; wait for what it writes."
              })
            )
      )
    )
  )

const grant = (backend: Backend, proofs: Proofs, request: Request): Effect.Effect<Answer, ServerProblem> =>
  Effect.gen(function* () {
    const first = yield* backend.grant(request)
    const answer =
      first._tag === "Busy" && (yield* proofs.isDead(first.owner))
        ? yield* backend.grant({ ...request, over: Option.some(first.owner) })
        : first
    if (answer._tag === "Granted" && Option.isSome(answer.previous)) yield* proofs.bury(answer.previous.value)
    return answer
  })

/** A renewal that fails is tried again a third of the ttl later; the lease lapses by itself otherwise. */
const renewal = (backend: Backend, account: string, owner: string, ttl: number): Effect.Effect<void> =>
  backend.renew(account, owner, ttl).pipe(
    Effect.orElseSucceed(() => true),
    Effect.delay(ttl / 3),
    Effect.repeat({ while: (mine) => mine }),
    Effect.asVoid
  )

const end = (backend: Backend, account: string, mine: Holder): Effect.Effect<void> =>
  Effect.flatMap(Effect.option(backend.release(account, mine.owner)), (done) => mine.end(Option.isSome(done)))
