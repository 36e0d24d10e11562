/** The lease port over a backend that can grant, renew, read and end a lease, each in one atomic step. */
import { Fibers, TimeLimit } from "@latchkey/core/internal-api"
import type { RefreshLease } from "@latchkey/core/RefreshLease"
import { LeaseError, ttlMillis } from "@latchkey/core/RefreshLease"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { hostname } from "node:os"
import type { Holder, Proofs } from "./HolderLiveness.js"
import * as LeaseTime from "./LeaseTime.js"
import { type ServerProblem, toLeaseError } from "./ServerProblem.js"

/** The result of a request for a lease. */
export type Answer =
  | {
      readonly _tag: "Granted"
      readonly fence: number
      /** The owner whose lease had lapsed or was taken, if known. */
      readonly previous: Option.Option<string>
    }
  | {
      readonly _tag: "Busy"
      readonly owner: string
      readonly holder: string
      /** The written end of the lease. It changes with each renewal. */
      readonly until: string
    }

export interface Request {
  readonly account: string
  readonly owner: string
  /** The holder that requests it, for people. */
  readonly holder: string
  readonly ttl: number
  /** An owner whose lease no longer counts. It is granted to another before its written end. */
  readonly over: Option.Option<string>
  /**
   * Whether an owner renewed its lease less than a ttl ago, as this host's kernel knows. If so, the lease
   * counts, even if the clock that dated it says that it has ended. For backends whose leases are dated by
   * the clients' clocks.
   */
  readonly isRunning: (owner: string) => Effect.Effect<boolean>
}

export interface Backend {
  /** The clock that decides when a lease ends: the server's, or that of each client, which may be wrong. */
  readonly datedBy: "server" | "clients"
  readonly grant: (request: Request) => Effect.Effect<Answer, ServerProblem>
  /** Returns whether this owner still had a lease to renew. */
  readonly renew: (account: string, owner: string, ttl: number) => Effect.Effect<boolean, ServerProblem>
  readonly isHeld: (account: string, owner: string) => Effect.Effect<boolean, ServerProblem>
  readonly release: (account: string, owner: string) => Effect.Effect<void, ServerProblem>
}

const holder = `process ${process.pid} on ${hostname()}`

/**
 * An owner with the ttl of its lease, in milliseconds. Waiters use this ttl, whatever the backend's clock
 * shows.
 */
const ownerOf = (mine: Holder, ttl: number): string => `${mine.owner}~${Math.ceil(ttl)}`

/**
 * Returns the owner in the form that its proof uses, and its ttl. An owner of an earlier version names none.
 */
const parse = (owner: string): { readonly proof: string; readonly ttl: number } => {
  const [, proof = owner, ttl = LeaseTime.longestMillis] = /^(.*)~(\d{1,15})$/s.exec(owner) ?? []
  return { proof, ttl: Math.min(Number(ttl), LeaseTime.longestMillis) }
}

export const make = (backend: Backend, proofs: Proofs): Context.Tag.Service<RefreshLease> => {
  const waiting = makeWaiting()
  return {
    acquire: (account, ttl) =>
      Effect.gen(function* () {
        const millis = Math.min(yield* ttlMillis(account, ttl), LeaseTime.longestMillis)
        const held = yield* Effect.acquireRelease(begin(backend, proofs, waiting, account, millis), (lease) =>
          end(backend, account, lease)
        )
        yield* Effect.acquireRelease(
          Effect.map(Fibers.running(), (running) =>
            TimeLimit.startRepeating(running, held.ttl / 3, renewal(backend, account, held))
          ),
          (stop) => Effect.sync(stop)
        )
        return {
          fence: held.fence,
          isHeld: Effect.mapError(isHeld(backend, account, held), toLeaseError(account))
        }
      })
  }
}

/** Other holders' leases in the state in which waiters of this process first saw them. */
interface Waiting {
  /** Whether a lease has not changed for its ttl since it was first seen. */
  readonly isOverdue: (account: string, owner: string, until: string) => Effect.Effect<boolean>
  readonly forget: (account: string) => Effect.Effect<void>
}

const makeWaiting = (): Waiting => {
  const seen = new Map<string, { readonly what: string; readonly at: number }>()
  return {
    isOverdue: (account, owner, until) =>
      Effect.map(LeaseTime.monotonicMillis, (now) => {
        const what = `${owner} ${until}`
        const before = seen.get(account)
        if (before?.what === what) return now - before.at >= parse(owner).ttl
        seen.set(account, { what, at: now })
        return false
      }),
    forget: (account) => Effect.sync(() => void seen.delete(account))
  }
}

interface Held {
  readonly fence: number
  readonly mine: Holder
  readonly ttl: number
  /** Before the backend was called. `never` once the lease was released. */
  readonly renewedAt: Ref.Ref<Moment>
}

/** By the monotonic clock, which may stand still while a machine sleeps, and by the wall clock. */
interface Moment {
  readonly monotonic: number
  readonly wall: number
}

const never: Moment = { monotonic: -Infinity, wall: -Infinity }

const thisMoment: Effect.Effect<Moment> = Effect.zipWith(
  LeaseTime.monotonicMillis,
  Clock.currentTimeMillis,
  (monotonic, wall) => ({ monotonic, wall })
)

/**
 * Where the server dates leases, nobody else can hold a lease that was renewed less than half of its ttl ago, by both clocks.
 * Then no request is needed: the commit of the intent has just checked that no other lease was granted.
 */
const isHeld = (backend: Backend, account: string, { mine, renewedAt, ttl }: Held) =>
  Effect.flatMap(Effect.zip(thisMoment, Ref.get(renewedAt)), ([now, since]) => {
    const elapsed = now.monotonic - since.monotonic
    const isSure = elapsed < ttl / 2 && Math.abs(now.wall - since.wall) < ttl / 2
    if (backend.datedBy === "server" && isSure) return Effect.succeed(true)
    if (backend.datedBy === "clients" && elapsed >= ttl) return Effect.succeed(false)
    return backend.isHeld(account, ownerOf(mine, ttl))
  })

const begin = (
  backend: Backend,
  proofs: Proofs,
  waiting: Waiting,
  account: string,
  ttl: number
): Effect.Effect<Held, LeaseError> =>
  Effect.flatMap(Effect.zip(proofs.begin, thisMoment), ([mine, at]) => {
    const owner = ownerOf(mine, ttl)
    return grant(backend, proofs, waiting, {
      account,
      owner,
      holder,
      ttl,
      over: Option.none(),
      isRunning: (other) => isRunning(proofs, other)
    }).pipe(
      // Whether it was granted may be unknown. It is released in the background, or else it lapses.
      Effect.onError(() =>
        Effect.forkDaemon(Effect.andThen(Effect.ignore(backend.release(account, owner)), mine.end(true)))
      ),
      Effect.mapError(toLeaseError(account)),
      Effect.flatMap((answer) =>
        answer._tag === "Granted"
          ? Effect.map(Effect.andThen(stamp(backend, mine, at), Ref.make(at)), (renewedAt): Held => ({
              fence: answer.fence,
              mine,
              ttl,
              renewedAt
            }))
          : Effect.andThen(
              mine.end(true),
              new LeaseError({
                reason: "Busy",
                account,
                holder: answer.holder,
                message: "Another process is refreshing this grant; wait for its result."
              })
            )
      )
    )
  })

const grant = (
  backend: Backend,
  proofs: Proofs,
  waiting: Waiting,
  request: Request
): Effect.Effect<Answer, ServerProblem> =>
  Effect.gen(function* () {
    const { account } = request
    const first = yield* backend.grant(request)
    const answer =
      first._tag === "Busy" &&
      ((yield* proofs.isDead(parse(first.owner).proof)) ||
        (yield* waiting.isOverdue(account, first.owner, first.until)))
        ? yield* backend.grant({ ...request, over: Option.some(first.owner) })
        : first
    if (answer._tag === "Granted") {
      yield* waiting.forget(account)
      if (Option.isSome(answer.previous)) yield* proofs.bury(parse(answer.previous.value).proof)
    }
    return answer
  })

/** Whether an owner on this host is alive and renewed its lease less than its ttl ago. */
const isRunning = (proofs: Proofs, owner: string): Effect.Effect<boolean> => {
  const { proof, ttl } = parse(owner)
  return Effect.flatMap(
    Effect.all([proofs.renewedAt(proof), LeaseTime.monotonicMillis]),
    ([renewedAt, now]) =>
      Option.exists(renewedAt, (at) => at <= now && now - at < ttl)
        ? Effect.map(proofs.isDead(proof), (dead) => !dead)
        : Effect.succeed(false)
  )
}

/** Only clients that date leases by their own clocks read the stamp. */
const stamp = ({ datedBy }: Backend, mine: Holder, { monotonic }: Moment): Effect.Effect<void> =>
  datedBy === "server" ? Effect.void : mine.stamp(monotonic)

/** Returns whether there is still a lease to renew. A failed renewal is tried again. Otherwise the lease lapses by itself. */
const renewal = (backend: Backend, account: string, { mine, renewedAt, ttl }: Held): Effect.Effect<boolean> =>
  Effect.flatMap(thisMoment, (at) =>
    backend.renew(account, ownerOf(mine, ttl), ttl).pipe(
      Effect.tap((still) =>
        still ? Effect.andThen(recordRenewal(renewedAt, at), stamp(backend, mine, at)) : Effect.void
      ),
      Effect.orElseSucceed(() => true)
    )
  )

/** A renewal that ends after the lease was released changes nothing. */
const recordRenewal = (renewedAt: Ref.Ref<Moment>, at: Moment): Effect.Effect<void> =>
  Ref.update(renewedAt, (before) => (before === never ? never : at))

const end = (backend: Backend, account: string, { mine, renewedAt, ttl }: Held): Effect.Effect<void> =>
  Effect.andThen(
    Ref.set(renewedAt, never),
    Effect.flatMap(Effect.option(backend.release(account, ownerOf(mine, ttl))), (done) =>
      mine.end(Option.isSome(done))
    )
  )
