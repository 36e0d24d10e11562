/** Who needs their user, and who recovered: the decision, and the stream over a pool. */
import { describe, expect, it } from "@effect/vitest"
import {
  AccountNotice,
  AccountNotices,
  Credentials,
  Entry,
  RefreshLease,
  TokenConfig,
  TokenManagers,
  TokenRefresher,
  TokenStorages
} from "@latchkey/core"
import { Clock, Effect, Either, HashMap, Layer, Option, Stream, TestClock } from "effect"
import { minute, settle, start } from "./support/Bench.js"
import * as Edition from "./support/Edition.js"

const alive = (grant: string) => Option.some({ grant, dead: false })
const dead = (grant: string) => Option.some({ grant, dead: true })
const gone = Option.none<AccountNotice.Found>()

describe("observe", () => {
  it.each<readonly [string, ReadonlyArray<Option.Option<AccountNotice.Found>>, ReadonlyArray<string>]>([
    ["a grant that is alive is no news", [alive("a"), alive("b")], []],
    ["a death is reported once", [alive("a"), dead("a"), dead("a")], ["NeedsLogin"]],
    ["a recovery is reported once", [dead("a"), alive("b"), alive("b")], ["NeedsLogin", "Recovered"]],
    ["a mark that is not stored yet is no recovery", [dead("a"), alive("a"), dead("a")], ["NeedsLogin"]],
    ["a second death is news", [dead("a"), alive("b"), dead("b")], ["NeedsLogin", "Recovered", "NeedsLogin"]],
    ["a grant that dies unseen after another is news", [dead("a"), dead("b")], ["NeedsLogin", "NeedsLogin"]],
    ["an account that was removed is forgotten", [dead("a"), gone, alive("b")], ["NeedsLogin"]]
  ])("%s", (_, found, expected) => {
    let known = AccountNotice.none
    const notices = found.flatMap((state) => {
      const [next, notice] = AccountNotice.observe(known, "alice", state, 7)
      known = next
      return Option.toArray(notice)
    })
    expect(notices.map(({ _tag }) => _tag)).toEqual(expected)
    expect(new Set(notices.map(({ id }) => id)).size).toBe(notices.length)
  })

  it("gives the same id in every process, and no grant in it", () => {
    const of = (account: string, grant: string) =>
      Option.getOrThrow(AccountNotice.observe(AccountNotice.none, account, dead(grant), 7)[1]).id
    expect(of("alice", "0123456789ab")).toBe(of("alice", "0123456789ab"))
    expect(of("alice", "0123456789ab")).not.toBe(of("bob", "0123456789ab"))
    expect(of("alice", "0123456789ab")).toMatch(/^[0-9a-f]{32}$/)
    expect(of("alice", "0123456789ab")).not.toContain("0123456789ab")
  })

  it("keeps what it knows about other accounts", () => {
    const [known] = AccountNotice.observe(HashMap.make(["bob", "x"]), "alice", dead("a"), 7)
    expect(HashMap.size(AccountNotice.observe(known, "alice", alive("b"), 7)[0])).toBe(1)
  })
})

const login = (account: string, n: number) =>
  Credentials.make({
    accessToken: `${account}-at-${n}`,
    refreshToken: `${account}-rt-${n}`,
    obtainedAt: start,
    expiresAt: start + 10 * minute
  })

const refused = new TokenRefresher.RefreshError({
  reason: "GrantDead",
  message: "invalid_grant: the grant has ended."
})

/** Accounts whose refresh ends their grant, and processes over them. */
const world = (accounts: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const storages = yield* TokenStorages.makeMemory(
      accounts.map((account) => [account, Entry.first(login(account, 1))] as const)
    )
    const lease = yield* RefreshLease.makeProcess
    const process = Effect.gen(function* () {
      const config = yield* TokenConfig.make({})
      const pool = TokenManagers.layerShared().pipe(
        Layer.provideMerge(Layer.succeed(TokenStorages.TokenStorages, storages)),
        Layer.provide([
          Layer.succeed(RefreshLease.RefreshLease, lease),
          Layer.succeed(TokenConfig.TokenConfig, config),
          Layer.succeed(
            TokenRefresher.TokenRefresher,
            TokenRefresher.make({ rotation: TokenRefresher.rotating(), refresh: () => Effect.fail(refused) })
          )
        ])
      )
      const context = yield* Layer.build(Layer.provideMerge(AccountNotices.layer(), pool))
      return yield* Effect.gen(function* () {
        const managers = yield* TokenManagers.TokenManagers
        const { notices } = yield* AccountNotices.AccountNotices
        const seen: Array<string> = []
        const ids: Array<string> = []
        yield* Effect.forkScoped(
          Stream.runForEach(notices, ({ _tag, account, id }) =>
            Effect.sync(() => {
              seen.push(`${_tag} ${account}`)
              ids.push(id)
            })
          )
        )
        yield* settle
        return {
          seen,
          ids,
          die: (account: string) =>
            Effect.ignore(Effect.scoped(Effect.flatMap(managers.get(account), ({ refresh }) => refresh))),
          save: (account: string, n: number) =>
            Effect.scoped(Effect.flatMap(managers.get(account), (manager) => manager.save(login(account, n))))
        }
      }).pipe(Effect.provide(context))
    })
    return { storages, process }
  })

describe("the notices of a pool", () => {
  it.scoped("tell of a death and of a login in this process", () =>
    Effect.gen(function* () {
      const { process } = yield* world(["alice", "bob"])
      const a = yield* process
      yield* a.die("alice")
      yield* settle
      expect(a.seen).toEqual(["NeedsLogin alice"])
      yield* a.save("bob", 2)
      yield* a.save("alice", 2)
      yield* settle
      expect(a.seen).toEqual(["NeedsLogin alice", "Recovered alice"])
      yield* TestClock.adjust("10 minutes")
      expect(a.seen).toHaveLength(2)
    })
  )

  it.scoped("tell of a recovery in another process within a minute, and under one id", () =>
    Effect.gen(function* () {
      const { process } = yield* world(["alice"])
      const [a, b] = [yield* process, yield* process]
      yield* a.die("alice")
      yield* settle
      expect([a.seen, b.seen]).toEqual([["NeedsLogin alice"], []])
      // It starts later, and knows from storage who waits.
      const c = yield* process
      yield* b.save("alice", 2)
      yield* TestClock.adjust("1 minute")
      yield* settle
      expect([a.seen, b.seen, c.seen]).toEqual([
        ["NeedsLogin alice", "Recovered alice"],
        [],
        ["Recovered alice"]
      ])
      expect(a.ids[1]).toBe(c.ids[0])
    })
  )

  it.scoped("forget an account that was removed", () =>
    Effect.gen(function* () {
      const { process, storages } = yield* world(["alice"])
      const a = yield* process
      yield* a.die("alice")
      yield* Either.getOrThrow(storages.of("alice")).remove
      yield* TestClock.adjust("1 minute")
      yield* a.save("alice", 2)
      yield* TestClock.adjust("1 minute")
      expect(a.seen).toEqual(["NeedsLogin alice"])
      expect(yield* Clock.currentTimeMillis).toBe(start + 2 * minute)
    })
  )

  it.scoped("refuse an interval that cannot work", () =>
    Effect.gen(function* () {
      const { storages } = yield* world([])
      const made = AccountNotices.make({ every: 0 }).pipe(
        Effect.provideService(TokenStorages.TokenStorages, storages),
        Effect.provideService(TokenManagers.TokenManagers, {} as TokenManagers.Managers)
      )
      expect(Edition.settingProblem(yield* Effect.flip(made))).toBe("invalid")
    })
  )
})
