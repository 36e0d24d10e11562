/** One grant kept in memory, with the storage port's meaning of versions and fences. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Entry from "../Entry.js"
import { CommitRefused, type TokenStorage, type Version, type Versioned } from "../TokenStorage.js"

type Storage = Context.Tag.Service<TokenStorage>

export class MemoryCell {
  private serial = 0
  private held: Versioned | undefined

  constructor(initial: Option.Option<Entry.Entry> = Option.none()) {
    this.held = Option.getOrUndefined(Option.map(initial, (entry) => this.versioned(entry)))
  }

  /** `tell` is called after each change. */
  storage(location: string, changes: Storage["changes"], tell: () => void): Storage {
    return {
      location,
      changes,
      load: Effect.sync(() => Option.fromNullable(this.held)),
      commit: (entry, expected) =>
        Effect.suspend(() => {
          if (this.held?.version !== Option.getOrUndefined(expected)) {
            return Effect.fail(new CommitRefused({ reason: "Conflict", location }))
          }
          const fence = this.held?.entry.fence ?? 0
          if (!Entry.passesFence(entry, fence)) {
            return Effect.fail(new CommitRefused({ reason: "Fenced", location }))
          }
          const next = this.versioned(Entry.keepFence(entry, fence))
          this.held = next
          tell()
          return Effect.succeed(next.version)
        }),
      remove: Effect.sync(() => {
        const existed = this.held !== undefined
        this.held = undefined
        tell()
        return existed
      })
    }
  }

  private versioned(entry: Entry.Entry): Versioned {
    return { entry, version: `${++this.serial}` as Version }
  }
}
