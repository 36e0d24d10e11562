/**
 * Two managers, as in two processes, over one storage and one grant: in every order of their steps, the
 * credentials of the winner are never overwritten or deleted (invariant 7).
 */
import { Credentials, Entry, RefreshLease, type TokenManager } from "@latchkey/core"
import { Fault, type HostileServer, Rotation } from "@latchkey/oauth/testing"
import { Clock, Effect, Option } from "effect"
import { told } from "./windows.js"
import { Draw, inWorld, manager, recordingStorage } from "./world.js"

export interface Race {
  /** What was drawn, and what went wrong: nothing, if all is well. */
  readonly setting: string
  readonly broken: ReadonlyArray<string>
  readonly refreshes: number
  /** Answers of `invalid_grant` to one who came second. */
  readonly refused: number
  /** How often a caller had to log in although the grant could still be used. */
  readonly falseAlarms: number
  /** The history of the storage: two runs of a seed agree on it. */
  readonly trace: string
}

const lifetime = 60_000
const aWhile = "1 hour"

const rotations: ReadonlyArray<(onReuse: Rotation.OnReuse) => Rotation.Rotation> = [
  Rotation.strict,
  (onReuse) => Rotation.newPair(aWhile, onReuse),
  (onReuse) => Rotation.samePair(aWhile, onReuse),
  Rotation.predecessorValid
]

const weather = [
  Fault.lostAnswer,
  Fault.lostRequest,
  Fault.refused,
  Fault.html(true),
  Fault.status(503, { error: "temporarily_unavailable" }),
  Fault.without("access_token"),
  Fault.tooManyRequests("2 seconds")
].map((fault) => ({ fault, probability: 0.06 }))

export const race = (seed: number): Effect.Effect<Race, unknown> =>
  Effect.suspend(() => {
    const draw = new Draw(seed)
    const onReuse = draw.of(["Refuse", "Revoke"] as const)
    const rotation = draw.of(rotations)(onReuse)
    const sharedLease = draw.chance(0.3)
    const stormy = draw.chance(0.4)
    const slowStorage = draw.of([0, 5, 50, 500])
    const setting =
      `seed ${seed}: ${rotation._tag}, ${onReuse}, ${sharedLease ? "one lease" : "a lease each"}, ` +
      `storage ≤ ${slowStorage} ms${stormy ? ", stormy" : ""}`
    // Nobody could save it where an answer is lost without a window, or where two without a common lease
    // redeem one token at a server that punishes that.
    const mustSurvive =
      (rotation._tag !== "Strict" || !stormy) &&
      (sharedLease || onReuse === "Refuse" || rotation._tag === "NewPair")

    const options: HostileServer.Options = {
      seed,
      rotation,
      accessTokenLifetime: lifetime,
      latency: { min: 0, max: draw.of([1, 20, 300, 1500]) },
      chances: stormy ? weather : []
    }
    return inWorld(options, (server) =>
      Effect.gen(function* () {
        const broken: Array<string> = []
        const expect = (holds: boolean, what: string) => void (holds || broken.push(what))
        let falseAlarms = 0

        /** When each refresh token came into storage. */
        const storedAt = new Map<string, number>()
        const { history, storage } = yield* recordingStorage(
          Effect.suspend(() => (slowStorage === 0 ? Effect.void : Effect.sleep(draw.upTo(slowStorage)))),
          (entry) =>
            Effect.gen(function* () {
              const token = Entry.grantFingerprint(entry.credentials)
              if (!storedAt.has(token)) storedAt.set(token, yield* Clock.currentTimeMillis)
              if (Option.isNone(entry.dead)) return
              expect(!(yield* server.canRefresh(entry.credentials)), "a grant that lives was marked dead")
            })
        )
        const lease = yield* RefreshLease.makeProcess
        const config = {
          credentialsTtl: draw.of([0, 1000, 30_000]),
          refreshGrace: "20 seconds",
          refreshMode: draw.of(["wait", "background"] as const),
          refreshTimeout: "8 seconds",
          coolDownBase: "200 millis",
          coolDownMax: "2 seconds"
        } as const
        const managers = yield* Effect.forEach([1, 2], (n) =>
          Effect.flatMap(sharedLease ? Effect.succeed(lease) : RefreshLease.makeProcess, (own) =>
            manager({
              storage,
              lease: own,
              config: { ...config, instance: `process ${n}` },
              refresher: {
                timeout: "5 seconds",
                ...(draw.chance(0.5) && { rotation: told(rotation) })
              },
              watch: draw.chance(0.5)
            })
          )
        )
        const grant = yield* server.issueGrant()
        yield* managers[0]!.save(grant)

        /** One thing that a program does with its manager. */
        const act = (of: TokenManager.Manager, within: number) =>
          Effect.gen(function* () {
            yield* Effect.sleep(draw.upTo(within))
            const what = draw.upTo(7)
            const held = yield* of.credentials
            yield* what === 0
              ? of.refresh
              : what === 1 && Option.isSome(held)
                ? of.reject(held.value.accessToken)
                : of.getAccessToken
          }).pipe(
            Effect.catchTag("ReauthorizationRequired", () =>
              Effect.gen(function* () {
                const { credentials } = Option.getOrThrow(yield* Effect.orDie(storage.load)).entry
                if (!(yield* server.canRefresh(credentials))) return
                falseAlarms++
                // The winner's answer may still have been under way; not so if it was there to be read.
                const refusals = (yield* server.redemptions).filter((r) => r.brought === undefined)
                const since = storedAt.get(Entry.grantFingerprint(credentials)) ?? Infinity
                expect(
                  !((refusals.at(-1)?.at ?? 0) > since),
                  "a login was asked for although a peer had refreshed"
                )
              })
            ),
            // Storage refuses a rotation for now where the peer's lease is the later one.
            Effect.catchTags({ RefreshUnavailable: () => Effect.void, StorageError: () => Effect.void })
          )
        /** Both at about the same time, around the moment when the token is due or expires. */
        const round = Effect.gen(function* () {
          const { credentials } = Option.getOrThrow(yield* storage.load).entry
          const left = Option.getOrThrow(credentials.expiresAt) - (yield* Clock.currentTimeMillis)
          yield* Effect.sleep(Math.max(0, left - draw.of([30_000, 20_000, 10_000, 0, 0])))
          const within = draw.of([0, 0, 5, 20, 200, 2000])
          const callers = [...managers, ...managers.filter(() => draw.chance(0.5))]
          yield* Effect.forEach(callers, (m) => act(m, within), { concurrency: "unbounded" })
        })
        yield* Effect.repeatN(round, 3)

        // The storm is over: within a life or two, both have a token that the server takes.
        yield* server.plan(Array.from({ length: 100 }, () => Fault.none))
        yield* Effect.sleep(lifetime)
        for (const [i, m] of managers.entries()) {
          const token = yield* Effect.option(retryAWhile(m))
          if (Option.isNone(token)) {
            expect(!mustSurvive, `manager ${i + 1} was left without a token`)
            continue
          }
          const accepted = yield* server.accepts(Credentials.make({ accessToken: token.value }))
          // A token that lives on at the client when its family has died is no fault of the client's.
          const last = Option.getOrThrow(yield* storage.load).entry.credentials
          expect(accepted || !(yield* server.isAlive(last)), `manager ${i + 1} got a token that is refused`)
        }
        // A refresh that was started behind has ended by then.
        yield* Effect.sleep("20 seconds")
        const last = Option.getOrThrow(yield* storage.load).entry
        expect(
          !mustSurvive || (yield* server.canRefresh(last.credentials)),
          "what is stored cannot be refreshed"
        )

        const redemptions = yield* server.redemptions
        const steps = history.map((entry) => ({ token: Entry.grantFingerprint(entry.credentials), entry }))
        steps.slice(1).forEach(({ entry, token }, i) => {
          const before = steps[i]!
          if (token === before.token) {
            expect(entry.generation >= before.entry.generation, "the generation fell")
          } else {
            expect(
              redemptions.some((r) => r.redeemed === before.token && r.brought === token),
              "credentials were overwritten by some that do not descend from them"
            )
            expect(entry.generation === before.entry.generation + 1, "a generation was skipped or repeated")
          }
        })
        const counts = yield* server.counts
        expect(!sharedLease || falseAlarms === 0, "a login was asked for under one lease, without need")
        if (sharedLease && !stormy) {
          expect(
            counts.reuses === 0 && counts.replays === 0,
            "a refresh token was redeemed twice under one lease"
          )
          expect(counts.mostAtOnce <= 1, "two refreshes at once under one lease")
        }
        return {
          setting,
          broken,
          falseAlarms,
          refreshes: counts.refreshes,
          refused: redemptions.filter((r) => r.brought === undefined).length,
          trace: steps
            .map(({ entry, token }) => `${token}.${entry.generation}${Option.isSome(entry.dead) ? "†" : ""}`)
            .join(" ")
        }
      })
    )
  })

const retryAWhile = (m: TokenManager.Manager) =>
  Effect.retry(m.getAccessToken, {
    times: 20,
    while: (error) => Effect.as(Effect.sleep(1000), error._tag !== "StorageError")
  })
