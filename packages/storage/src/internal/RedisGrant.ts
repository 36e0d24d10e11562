/** The storage of one account, and the leases, in Redis. */
import type { StorageError, TokenStorage, Version } from "@latchkey/core/TokenStorage"
import { CommitRefused } from "@latchkey/core/TokenStorage"
import { atRest } from "@latchkey/core/TokenStorages"
import * as Entry from "@latchkey/core/Entry"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type * as LeaseKeeper from "./LeaseKeeper.js"
import type * as Record from "./Record.js"
import { mark, markOf } from "./RecordKeys.js"
import * as RecordText from "./RecordText.js"
import type { Connection } from "./RedisClient.js"
import * as RedisScripts from "./RedisScripts.js"
import { type ServerProblem, toStorageError } from "./ServerProblem.js"

/** The braces keep everything about an account in one slot of a cluster. */
export const keyOf = (prefix: string, account: string): string =>
  `${prefix}:{${account.replace(/[%{}]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)}}`

export const channelOf = (key: string): string => `${key}:changes`

/** The channels of all accounts as a Redis pattern, and the account of a channel. */
export const channelsOf = (prefix: string): string =>
  `${prefix.replace(/[\\*?[\]]/g, (char) => `\\${char}`)}:{*}:changes`
export const accountIn = (prefix: string, channel: string): string =>
  channel
    .slice(`${prefix}:{`.length, -"}:changes".length)
    .replace(/%(25|7b|7d)/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))

/** Where a storage keeps its entry. */
export interface Place {
  readonly prefix: string
  readonly account: string
  readonly key: string
  /** For people and for messages. */
  readonly location: string
}

export const storage = (
  { run }: Connection,
  { account, key, location, prefix }: Place,
  changes: Stream.Stream<void, StorageError>
): Context.Tag.Service<TokenStorage> => ({
  location,
  get load() {
    return read(run, key, location).pipe(
      Effect.map(Option.map(({ entry, version }) => ({ entry, version }))),
      Effect.mapError(toStorageError("load", location))
    )
  },
  commit: (entry, expected) =>
    Effect.gen(function* () {
      const version = Option.getOrElse(expected, () => "")
      // Only for fields that a later version may have added. The script does the comparison.
      const held = version.endsWith(mark) ? yield* read(run, key, location) : Option.none()
      const document = Option.match(held, { onNone: () => ({}), onSome: (h) => h.document })
      const record = yield* RecordText.encode(document, entry, location, yield* Clock.currentTimeMillis)
      const { dueAt, state } = atRest(entry)
      const place = [prefix, account, state, Option.getOrElse(dueAt, () => "")]
      const bare = version.endsWith(mark) ? version.slice(0, -mark.length) : version
      const args = [bare, entry.fence, record, channelOf(key), ...place]
      const [outcome, next] = list(yield* run(RedisScripts.commit, key, args))
      const became = text(outcome)
      if (became === "Committed") return versionOf(next, document)
      return yield* new CommitRefused({ reason: became === "Fenced" ? "Fenced" : "Conflict", location })
    }).pipe(Effect.catchTag("ServerProblem", (problem) => toStorageError("commit", location)(problem))),
  remove: run(RedisScripts.remove, key, [channelOf(key), prefix, account]).pipe(
    Effect.map((removed) => removed === 1),
    Effect.mapError(toStorageError("remove", location))
  ),
  changes: Option.some(changes)
})

const versionOf = (version: Uint8Array | undefined, document: Record.Record["document"]): Version =>
  `${text(version)}${markOf(document)}` as Version

const read = (
  run: Connection["run"],
  key: string,
  location: string
): Effect.Effect<Option.Option<Record.Record & { readonly version: Version }>, ServerProblem> =>
  Effect.gen(function* () {
    const [version, fence, bytes] = list(yield* run(RedisScripts.load, key, [RecordText.maxBytes]))
    if (version === undefined) return Option.none()
    if (bytes === undefined) return yield* RecordText.tooLarge(location)
    const record = yield* RecordText.decode(bytes, location, yield* Clock.currentTimeMillis)
    const entry = Entry.keepFence(record.entry, Number(text(fence)))
    return Option.some({ ...record, entry, version: versionOf(version, record.document) })
  })

export const leases = ({ run }: Connection, prefix: string): LeaseKeeper.Backend => {
  const holds = (script: string, account: string, args: ReadonlyArray<string | number>) =>
    Effect.map(run(script, keyOf(prefix, account), args), (answer) => answer === 1)
  return {
    datedBy: "server",
    grant: ({ account, owner, holder, ttl, over }) =>
      Effect.map(
        run(RedisScripts.grant, keyOf(prefix, account), [
          owner,
          holder,
          Math.ceil(ttl),
          Option.getOrElse(over, () => "")
        ]),
        (answer): LeaseKeeper.Answer => {
          const [outcome = "", second = "", third = "", until = ""] = list(answer).map(text)
          return outcome === "Granted"
            ? {
                _tag: "Granted",
                fence: Number(second),
                previous: third === "" ? Option.none() : Option.some(third)
              }
            : { _tag: "Busy", owner: second, holder: third, until }
        }
      ),
    renew: (account, owner, ttl) => holds(RedisScripts.renew, account, [owner, Math.ceil(ttl)]),
    isHeld: (account, owner) => holds(RedisScripts.isHeld, account, [owner]),
    release: (account, owner) => holds(RedisScripts.release, account, [owner])
  }
}

export const list = (answer: unknown): ReadonlyArray<Uint8Array> =>
  Array.isArray(answer) ? answer.filter((item) => item instanceof Uint8Array) : []

export const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)
