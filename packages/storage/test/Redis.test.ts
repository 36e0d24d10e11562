import * as Entry from "@latchkey/core/Entry"
import { TokenStorages } from "@latchkey/core/TokenStorages"
import * as Redis from "@latchkey/storage/Redis"
import { Sample } from "@latchkey/storage/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Fibers } from "@latchkey/core/internal-api"
import { Cluster, Redis as Client } from "ioredis"
import { inspect } from "node:util"
import { describeWith } from "../../../.ci/describeWith.js"
import { redis } from "../../../.ci/programs.js"
import * as RedisServer from "./support/RedisServer.js"
import { crashes, manyAccounts, untilItAnswers } from "./support/servers.js"

const account = "me"
const range = (n: number) => Array.from({ length: n }, (_, i) => i)

const open = (
  server: Redis.ConnectionOptions["server"],
  options: Partial<Redis.Options & Redis.ConnectionOptions> = {}
) =>
  Effect.flatMap(Layer.build(Redis.layerConnection({ ...options, server })), (connection) =>
    Effect.provide(Redis.make({ account, ...options }), connection)
  )

/** Another program's connection. */
const raw = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new Client(url)),
    (client) => Effect.sync(() => client.disconnect())
  )

const elapsed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const result = yield* effect
    return [result, (yield* Clock.currentTimeMillis) - before] as const
  })

const allOf = ({ storage, lease }: Redis.Redis) =>
  Effect.all([
    Effect.flip(storage.load),
    Effect.flip(storage.commit(Sample.plain("a"), Option.none())),
    Effect.flip(storage.remove),
    Effect.flip(Effect.scoped(lease.acquire(account, "1 minute")))
  ])

describeWith(redis, "a Redis server", () => {
  it.live("that is down is Unavailable at once, and serves when it is up", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* server.stop("SIGTERM")
      const handle = yield* open(server.url)
      const [failures, millis] = yield* elapsed(allOf(handle))
      for (const failure of failures) {
        assert.strictEqual(failure.reason, "Unavailable")
        assert.include(failure.message, "(ECONNREFUSED): it cannot be reached")
      }
      assert.isBelow(millis, 10_000)
      yield* server.start
      assert.isTrue(Option.isNone(yield* untilItAnswers(handle.storage.load)))
    }).pipe(Effect.scoped)
  )

  it.live("may crash and come back: what it acknowledged is there, and leases go on", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      yield* crashes(server, ["SIGKILL", "SIGTERM"], account, yield* open(server.url))
    }).pipe(Effect.scoped)
  )

  it.live("that hangs is Unavailable when the time is over, even where nothing can be interrupted", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const { storage } = yield* open(server.url, { timeout: "1 second" })
      const version = yield* storage.commit(Sample.plain("a"), Option.none())
      yield* server.send("SIGSTOP")
      const commit = storage.commit(Sample.plain("b"), Option.some(version))
      const [error, millis] = yield* elapsed(Effect.uninterruptible(Effect.flip(commit)))
      assert.include(error, { _tag: "StorageError", reason: "Unavailable" })
      assert.isBelow(millis, 10_000)
      yield* server.send("SIGCONT")
      assert.isTrue(Option.isSome(yield* untilItAnswers(storage.load)))
    }).pipe(Effect.scoped)
  )

  it.live("may cut connections: nothing is lost, and the next ones serve", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const other = yield* raw(server.url)
      const { storage } = yield* open(server.url)
      let version = yield* storage.commit(Sample.plain("0"), Option.none())
      for (const n of range(5)) {
        yield* Effect.promise(() => other.client("KILL", "TYPE", "normal", "SKIPME", "yes"))
        assert.strictEqual(Option.getOrThrow(yield* untilItAnswers(storage.load)).version, version)
        version = yield* storage.commit(Sample.plain(`${n + 1}`), Option.some(version))
      }
    }).pipe(Effect.scoped)
  )

  it.live("serves many accounts over one connection, and tells which one changed", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const options = { server: server.url, prefix: "a*b[c]" }
      const context = yield* Layer.build(Redis.layerAccounts(options))
      yield* manyAccounts(Context.get(context, TokenStorages), true)
    }).pipe(Effect.scoped)
  )

  it.live("tells of changes again after it was away, to all who listen", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const connection = yield* Layer.build(Redis.layerConnection({ server: server.url }))
      const { storage } = yield* Effect.provide(Redis.make({ account }), connection)
      const { storage: bystander } = yield* Effect.provide(Redis.make({ account: "you" }), connection)
      const { storage: other } = yield* open(server.url)
      const listen = (changes: typeof storage.changes) =>
        Effect.gen(function* () {
          const told = yield* Queue.unbounded<void>()
          const stream = Option.getOrThrow(changes)
          yield* Effect.forkScoped(Stream.runForEach(stream, () => Queue.offer(told, undefined)))
          return { told, next: Effect.timeout(Queue.take(told), "10 seconds") }
        })
      const one = yield* listen(storage.changes)
      const two = yield* listen(storage.changes)
      const three = yield* listen(bystander.changes)
      yield* Effect.all([one.next, two.next, three.next])
      yield* Effect.sleep("50 millis")
      yield* Effect.all([Queue.takeAll(one.told), Queue.takeAll(two.told), Queue.takeAll(three.told)])
      const version = yield* other.commit(Sample.plain("a"), Option.none())
      yield* Effect.all([one.next, two.next])
      assert.strictEqual(yield* Queue.size(three.told), 0)
      yield* server.stop("SIGTERM")
      yield* server.start
      // It may have changed meanwhile.
      yield* Effect.all([one.next, two.next, three.next])
      yield* Queue.takeAll(one.told)
      yield* untilItAnswers(other.commit(Sample.plain("b"), Option.some(version)))
      yield* one.next
    }).pipe(Effect.scoped)
  )

  it.live("that asks for a password is not given it away", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make(["--requirepass", "canary-right"])
      const as = (password: string) => open(Redacted.make(server.url.replace("//", `//default:${password}@`)))
      const right = yield* as("canary-right")
      assert.isTrue(Option.isNone(yield* right.storage.load))
      assert.strictEqual(right.storage.location, `Redis at 127.0.0.1:${server.port}, key latchkey:{me}`)
      for (const handle of [yield* open(server.url), yield* as("canary-wrong")]) {
        for (const failure of yield* allOf(handle)) {
          const said = [inspect(failure, { depth: 9, showHidden: true }), JSON.stringify(failure)].join()
          assert.notInclude(said, "canary")
          assert.include(failure.message, "it refused the login")
        }
        assert.strictEqual((yield* Effect.flip(handle.storage.load)).reason, "Denied")
      }
    }).pipe(Effect.scoped)
  )

  it.live("that is full, or holds something else there, says so and quotes nothing", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const other = yield* raw(server.url)
      const { storage } = yield* open(server.url)
      const commit = storage.commit(Sample.plain("canary"), Option.none())
      yield* Effect.promise(() => other.config("SET", "maxmemory", "1"))
      const full = yield* Effect.flip(commit)
      assert.include(full, { _tag: "StorageError", reason: "Denied" })
      yield* Effect.promise(() => other.config("SET", "maxmemory", "0"))
      yield* Effect.promise(() => other.set("latchkey:{me}", "something else"))
      const taken = yield* Effect.flip(commit)
      assert.include(taken, { _tag: "StorageError", reason: "Malformed" })
      const said = inspect([full, taken], { depth: 9, showHidden: true })
      assert.notInclude(said, "canary")
      assert.include(said, "OOM")
      assert.include(said, "WRONGTYPE")
    }).pipe(Effect.scoped)
  )

  it.live("need not allow its users to publish", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const other = yield* raw(server.url)
      yield* Effect.promise(() =>
        other.acl("SETUSER", "quiet", "on", "nopass", "~latchkey:*", "+@all", "resetchannels")
      )
      const { storage } = yield* open(server.url.replace("//", "//quiet:any@"))
      const version = yield* storage.commit(Sample.plain("a"), Option.none())
      assert.strictEqual(Option.getOrThrow(yield* storage.load).version, version)
    }).pipe(Effect.scoped)
  )

  it.live("keeps in a record what a later version has put there", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const other = yield* raw(server.url)
      const { storage } = yield* open(server.url)
      const field = ["latchkey:{me}", "record"] as const
      const record = Effect.promise(async () => JSON.parse((await other.hget(...field)) ?? "") as object)
      yield* storage.commit(Sample.plain("a"), Option.none())
      const later = JSON.stringify({ later: { x: [1] }, ...(yield* record) })
      yield* Effect.promise(() => other.hset(...field, later))
      const { version } = Option.getOrThrow(yield* storage.load)
      yield* storage.commit(Sample.plain("b"), Option.some(version))
      assert.deepInclude(yield* record, { later: { x: [1] }, accessToken: "access-b" })
    }).pipe(Effect.scoped)
  )

  it.live("keeps accounts and prefixes apart, whatever they are called", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const connection = yield* Layer.build(Redis.layerConnection({ server: server.url }))
      const names = ["a", "a}", "{a}", "a%7d", "a:b", "größer 🗝", "\ud800", "a\0b"]
      for (const [i, name] of names.entries()) {
        const { storage } = yield* Effect.provide(Redis.make({ account: name }), connection)
        assert.isTrue(Option.isNone(yield* storage.load), name)
        yield* storage.commit(Sample.plain(`${i}`), Option.none())
      }
    }).pipe(Effect.scoped)
  )

  it.effect("lets leases lapse by its own clock, and answers in real time", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make().pipe(Effect.withClock(Fibers.systemClock))
      const { lease } = yield* open(server.url)
      const mine = yield* lease.acquire(account, "1 minute")
      assert.isAbove(mine.fence, 1_700_000_000_000)
      yield* TestClock.setTime(4_000_000_000_000)
      assert.isTrue(yield* mine.isHeld)
      assert.strictEqual((yield* Effect.flip(lease.acquire(account, "1 minute"))).reason, "Busy")
    }).pipe(Effect.scoped)
  )

  it.live("serves a crowd that asks before it is connected, and nobody warns of it", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const warnings: Array<string> = []
      const listener = (warning: Error) => void warnings.push(warning.message)
      process.on("warning", listener)
      const { storage } = yield* open(server.url)
      const changes = Option.getOrThrow(storage.changes)
      yield* Effect.forEach(range(30), () => Effect.forkScoped(Stream.runDrain(changes)))
      yield* Effect.forEach(range(100), () => storage.load, { concurrency: "unbounded" })
      yield* Effect.sleep("10 millis")
      process.off("warning", listener)
      assert.deepStrictEqual(warnings, [])
    }).pipe(Effect.scoped)
  )

  it.live("may be a cluster", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make([
        "--cluster-enabled",
        "yes",
        "--cluster-announce-ip",
        "127.0.0.1"
      ])
      const node = yield* raw(server.url)
      yield* Effect.promise(() => node.cluster("ADDSLOTSRANGE", 0, 16_383))
      const { storage, lease } = yield* open(
        () =>
          new Cluster([{ host: "127.0.0.1", port: server.port }], {
            enableOfflineQueue: false,
            clusterRetryStrategy: () => 50,
            redisOptions: { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false }
          })
      )
      const { fence } = yield* untilItAnswers(lease.acquire(account, "1 minute"))
      yield* storage.commit(new Entry.Entry({ ...Sample.plain("a"), fence }), Option.none())
      assert.strictEqual(Option.getOrThrow(yield* storage.load).entry.fence, fence)
    }).pipe(Effect.scoped)
  )
})

describe("a connection for changes", () => {
  it.live("ends with who listens, and is nobody's business from then on", () =>
    Effect.gen(function* () {
      const ends: Array<number> = []
      const server = () => {
        const client = new Client({ lazyConnect: true })
        const which = ends.push(0) - 1
        const end = client.disconnect.bind(client)
        client.disconnect = (reconnect) => {
          ends[which]!++
          end(reconnect)
        }
        return client
      }
      yield* Effect.gen(function* () {
        const connection = yield* Layer.build(Redis.layerConnection({ server }))
        const { storages } = yield* Effect.provide(Redis.makeAccounts(), connection)
        for (let listeners = 0; listeners < 3; listeners++) {
          const changes = Stream.runDrain(Option.getOrThrow(storages.changes))
          yield* Effect.timeoutOption(changes, "5 millis")
          yield* Effect.promise(() => new Promise(setImmediate))
        }
      }).pipe(Effect.scoped)
      assert.deepStrictEqual(ends, [1, 1, 1, 1])
    })
  )
})

describe("options that cannot work", () => {
  const cases: ReadonlyArray<
    readonly [Redis.ConnectionOptions["server"], Partial<Redis.Options & Redis.ConnectionOptions>, string]
  > = [
    ["canary", {}, "redis://host:port"],
    ["http://canary", {}, "redis://host:port"],
    ["redis://127.0.0.1:1", { account: "" }, "account"],
    ["redis://127.0.0.1:1", { prefix: "a{b" }, "`prefix`"],
    ["redis://127.0.0.1:1", { timeout: 0 }, "`timeout`"],
    ["redis://127.0.0.1:1", { timeout: Infinity }, "`timeout`"],
    ["redis://127.0.0.1:1", { timeout: JSON.parse('"soon"') as "1 second" }, "`timeout`"]
  ]
  it.effect.each(cases)("are refused: %j %j", ([server, options, words]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(open(server, options))
      assert.include(error.message, words)
      assert.notInclude(inspect(error), "canary")
    }).pipe(Effect.scoped)
  )
})
