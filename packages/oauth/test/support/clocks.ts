/**
 * Extreme histories of clocks and lifetimes. In all of them nothing becomes NaN, nothing loops, a token is
 * refreshed at most once ahead of its expiry, and none is served once it is expired by the server's clock,
 * however ours was set (invariant 8).
 */
import {
  Credentials,
  type Decision,
  Fingerprint,
  RefreshLease,
  type TokenEvent,
  type TokenManager
} from "@latchkey/core"
import { Fault } from "@latchkey/oauth/testing"
import { Clock, Effect, Either, Option, Redacted, Stream } from "effect"
import type { VirtualTime } from "./time.js"
import { Draw, inWorld, manager, recordingStorage } from "./world.js"

export interface History {
  readonly steps: ReadonlyArray<string>
  readonly requests: number
  /** What went wrong: nothing, if all is well. */
  readonly broken: ReadonlyArray<string>
}

const second = 1000
const minute = 60 * second
const day = 1440 * minute
const year = 365 * day
const coolDownBase = second

/** What a server may say of a lifetime; not said at all where undefined. */
const lifetimes = [
  ...[1, 2, 5, 60, 60, 600, 3600, 3600, 3600, 3600, 86_400, 86_400],
  ...[0, 1, 2, 0.001, 59.5, 1e6, 1e9],
  ...[-1, 1e10, 1_700_000_000_000, 1e308],
  ...["3600", "0", "soon", "3600abc", ""],
  ...[undefined, null, true, [], {}]
] as const

/** How the first grant may come out of a store. */
const expiries = [undefined, -1e15, 0, 1, 1e12, 8.64e15, 2 ** 53, 1e300, Infinity, -Infinity, Number.NaN]

const leaps = [
  ...[0, 1, 999, second, 30 * second, 119 * second, 10 * minute, 58 * minute, 59 * minute, 60 * minute],
  ...[60 * minute, day, day, 25 * day, year, 30 * year, 1000 * year]
]

const numbersOf = (decision: Decision.Decision): ReadonlyArray<number> => {
  switch (decision._tag) {
    case "Use":
      return [decision.nextCheckAt]
    case "CoolDown":
      return [decision.until]
    case "TooShortLived":
      return [decision.lifetime, decision.minValidity]
    default:
      return []
  }
}

export const history = (seed: number): Effect.Effect<History, unknown> =>
  Effect.suspend(() => {
    const draw = new Draw(seed)
    const hasDate = draw.chance(0.7)
    const world: { time?: VirtualTime } = {}
    // The server's clock runs on while ours is set.
    const clockSkew = () => -(world.time?.error ?? 0)
    return inWorld({ seed, clockSkew }, (server, time) =>
      Effect.gen(function* () {
        world.time = time
        const broken: Array<string> = []
        const steps: Array<string> = []
        const expect = (holds: boolean, what: string) =>
          void (holds || broken.push(`${what} (step ${steps.length})`))

        const { storage } = yield* recordingStorage()
        const lease = yield* RefreshLease.makeProcess
        const of = yield* manager({
          storage,
          lease,
          config: {
            credentialsTtl: draw.of([0, 30 * second, day]),
            refreshGrace: draw.of([0, 120 * second, 10 * year]),
            refreshMode: draw.of(["wait", "background"] as const),
            coolDownBase
          },
          watch: false
        })
        const events: Array<{ readonly event: TokenEvent.TokenEvent; readonly elapsed: number }> = []
        yield* Effect.forkScoped(
          Stream.runForEach(of.events, (event) =>
            Effect.sync(() => events.push({ event, elapsed: time.elapsed }))
          )
        )

        const wall = draw.of([undefined, undefined, 0, 1, -1e12, 1e15])
        if (wall !== undefined) time.jump(wall - (yield* Clock.currentTimeMillis))
        const now = yield* Clock.currentTimeMillis
        time.error = 0
        const first = yield* server.issueGrant()
        const odd = draw.chance(0.3)
        yield* of.save(
          odd
            ? Credentials.make({
                accessToken: first.accessToken,
                refreshToken: Option.getOrUndefined(first.refreshToken),
                expiresAt: draw.of([...expiries, now, now + 1, now + minute]),
                obtainedAt: draw.of([undefined, now, 0, now + day, -Infinity, Number.NaN])
              })
            : first
        )
        /** When each token expires by the lifetime that its holder received. */
        const expiresAt = new Map<string, number>()
        const learn = (credentials: Credentials.Credentials) =>
          expiresAt.set(
            Fingerprint.of(credentials.accessToken),
            Option.getOrElse(credentials.expiresAt, () => Infinity)
          )
        yield* Effect.tap(of.credentials, (held) => Effect.sync(() => Option.map(held, learn)))

        /** When each token dies by the server's clock, in the time that nobody can set. */
        const diesAt = new Map<string, number>()
        const dies = (token: string, lifetime: unknown) => {
          const seconds =
            typeof lifetime === "string" ? Number(/^\d+$/.exec(lifetime)?.[0] ?? Number.NaN) : lifetime
          const isKnown = typeof seconds === "number" && seconds >= 0 && seconds <= 1e9
          diesAt.set(
            Fingerprint.of(Redacted.make(token)),
            isKnown ? time.elapsed + seconds * second : Infinity
          )
        }
        if (!odd) dies(Redacted.value(first.accessToken), 3600)

        const drawnLifetime = Fault.fields("drawn lifetime", (honest) => {
          const answer = {
            ...honest,
            expires_in: draw.of(lifetimes),
            ...(draw.chance(0.05) && { access_token: Redacted.value(first.accessToken) })
          }
          dies(String(answer.access_token), answer.expires_in)
          return answer
        })
        yield* server.always(hasDate ? drawnLifetime : undated(drawnLifetime))

        /** What any caller may ask; gives whether a refresh was asked for in any case. */
        const ask = Effect.suspend(() => {
          const kind = draw.upTo(9)
          const asked: Effect.Effect<unknown, unknown> =
            kind === 0
              ? of.getAccessTokenFor({ minValidity: draw.of(leaps) })
              : kind === 1
                ? of.status
                : kind === 2
                  ? of.snapshot
                  : checkedToken(of)
          return Effect.either(asked)
        })
        const checkedToken = (m: TokenManager.Manager) =>
          Effect.gen(function* () {
            const token = yield* m.getAccessToken
            const at = yield* Clock.currentTimeMillis
            const held = yield* Effect.option(m.credentials)
            Option.map(Option.flatten(held), learn)
            const end = expiresAt.get(Fingerprint.of(token)) ?? Infinity
            expect(!(at >= end), "an expired token was served")
            expectAlive(token, "a process")
          })
        const expectAlive = (token: Redacted.Redacted, who: string) => {
          const late = time.elapsed - (diesAt.get(Fingerprint.of(token)) ?? Infinity)
          expect(late < Credentials.clockTolerance, `${who} serves a token that has been dead for ${late} ms`)
        }

        for (let step = 0; step < 6; step++) {
          if (draw.chance(0.2)) {
            steps.push("another process begins")
            const other = yield* manager({ storage, lease, config: { coolDownBase }, watch: false })
            const token = yield* Effect.either(other.getAccessToken)
            // A token whose age nobody knows is served where the refresh that it calls for fails.
            const isFallback = (yield* other.explain).decision._tag === "CoolDown"
            if (Either.isRight(token) && !isFallback) expectAlive(token.right, "another process")
          }
          const span = draw.of(leaps)
          const move = draw.upTo(9)
          if (move < 5) {
            steps.push(`${span} ms pass`)
            yield* Effect.sleep(span)
          } else {
            const by = move < 7 ? span : -span
            steps.push(`the clock jumps by ${by} ms`)
            time.jump(by)
          }
          // The same moment, again and again: what can be decided by it is decided once.
          const before = (yield* server.counts).requests
          for (let round = 0; round < 2; round++) {
            const answers = yield* Effect.forEach(Array.from({ length: 1 + draw.upTo(2) }), () => ask, {
              concurrency: "unbounded"
            })
            for (const answer of answers) {
              if (Either.isRight(answer)) continue
              const error = answer.left as {
                readonly _tag: string
                readonly retryAt?: number
                readonly message: string
              }
              expect(
                ["RefreshUnavailable", "ReauthorizationRequired"].includes(error._tag),
                `an error of another kind: ${error._tag}`
              )
              expect(!Number.isNaN(error.retryAt ?? 0) && !error.message.includes("NaN"), "NaN in an error")
            }
            yield* Effect.yieldNow()
          }
          const explained = yield* of.explain
          expect(!numbersOf(explained.decision).some(Number.isNaN), "NaN in a decision")
          expect(!explained.text.includes("NaN"), `NaN in words: ${explained.text}`)
          const left = Option.getOrElse(explained.status.expiresInSeconds, () => 0)
          expect(Number.isInteger(left) || left === Infinity, "NaN in the status")
          // Behind, where the mode is so.
          yield* Effect.sleep(1)
          const sent = (yield* server.counts).requests - before
          expect(sent <= 1, `${sent} requests at one moment`)
        }

        expectPauses(events, (gap, needed) => expect(gap >= needed, `again after ${gap} ms, not ${needed}`))
        return { broken, requests: (yield* server.counts).requests, steps }
      })
    )
  })

/** The answer without its `Date`. */
const undated = (fault: Fault.Fault): Fault.Fault => ({
  ...fault,
  answer: (honest, server) => {
    const outcome = fault.answer(honest, server)
    return typeof outcome === "string" ? outcome : { ...outcome, headers: { ...outcome.headers, date: "" } }
  }
})

/**
 * Looks at each request that nobody asked for in so many words, and at the one before it: a token that was
 * brought is not due before half of its life, and after anything else there is a cool-down. Only a clock
 * that was set back ends it.
 */
const expectPauses = (
  events: ReadonlyArray<{ readonly event: TokenEvent.TokenEvent; readonly elapsed: number }>,
  check: (gap: number, needed: number) => void
): void => {
  const coolDown = 0.75 * coolDownBase
  let last: { readonly at: number; readonly elapsed: number; readonly needed: number } | undefined
  for (const { elapsed, event } of events) {
    if (event._tag === "Refreshing") {
      const set = event.at - (last?.at ?? event.at)
      const gap = set < 0 ? set : Math.max(set, elapsed - (last?.elapsed ?? elapsed))
      const asked = event.why === "MinValidity" || event.why === "Forced" || event.why === "Rejected"
      if (last !== undefined && !asked && !(gap < 0)) check(gap, last.needed)
      last = { at: event.at, elapsed, needed: coolDown }
    }
    // What another process wrote ends a cool-down.
    if (event._tag === "Adopted") last = undefined
    if (event._tag === "Refreshed" && last !== undefined) {
      const lifetime = (event.expiresAt ?? Infinity) - last.at
      if (lifetime > 0) last = { ...last, needed: Math.min(coolDown, lifetime / 2) }
    }
  }
}
