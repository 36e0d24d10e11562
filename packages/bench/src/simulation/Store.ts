/** One storage with a lease, as a server has them: what is kept, who holds the lease, what was granted. */
import * as Entry from "@latchkey/core/Entry"
import { LeaseError, nextFence, type RefreshLease } from "@latchkey/core/RefreshLease"
import {
  CommitRefused,
  StorageError,
  TokenStorage,
  type Version,
  type Versioned
} from "@latchkey/core/TokenStorage"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Steps } from "./Steps.js"
import type { Process, World } from "./World.js"

const location = "the simulated store"

/** A lease that was granted. */
export interface Granted {
  readonly process: Process
  readonly fence: number
  until: number
}

/** What watches over the store: called as things happen there. */
export interface Audit {
  readonly committed: (process: Process, before: Option.Option<Entry.Entry>, after: Entry.Entry) => void
  readonly removed: (process: Process) => void
  readonly acquiring: (process: Process, underway: number) => void
}

export class Store {
  held: Option.Option<Versioned> = Option.none()
  /** When the refresh token in it became another. */
  changedAt = 0
  /** When each process made its tokens others: either of them. */
  readonly grantChangedAt = new Map<Process, number>()
  /** When each process last read it. */
  readonly readAt = new WeakMap<Process, number>()
  /** When each process was last told that its lease is held. */
  readonly confirmedAt = new WeakMap<Process, number>()
  lastGrant: Granted | undefined
  private lease: Granted | undefined
  private serial = 0
  private fence = 0
  private readonly watchers = new Set<{ readonly process: Process; readonly tell: () => void }>()

  constructor(
    private readonly world: World,
    private readonly steps: Steps,
    private readonly audit: Audit,
    private readonly options: {
      readonly changes: boolean
      readonly fencesGranted: boolean
      readonly delay: number
    }
  ) {}

  get entry(): Option.Option<Entry.Entry> {
    return Option.map(this.held, (h) => h.entry)
  }

  /** The refresh token that is stored. */
  get refreshToken(): string | undefined {
    return Option.getOrUndefined(Option.flatMap(this.entry, refreshTokenOf))
  }

  /** Whether another process than this one has made its tokens others since then. */
  changedByOthers(process: Process, since: number): boolean {
    return [...this.grantChangedAt].some(([by, at]) => by !== process && at >= since)
  }

  /** Who holds the lease now, by the clock of the server. */
  get holder(): Process | undefined {
    return this.lease !== undefined && this.world.now < this.lease.until ? this.lease.process : undefined
  }

  storage(process: Process): Context.Tag.Service<TokenStorage> {
    const failure = (operation: StorageError["operation"]) => () =>
      new StorageError({
        reason: "Unavailable",
        operation,
        location,
        message: "The plan says that it fails."
      })
    return TokenStorage.of({
      location,
      load: this.steps.take(
        process,
        "load",
        () => {
          this.readAt.set(process, this.world.now)
          return Either.right(this.held)
        },
        failure("load")
      ),
      commit: (entry, expected) =>
        Effect.uninterruptible(
          this.steps.take<Version, StorageError | CommitRefused>(
            process,
            "commit",
            () => this.commit(process, entry, expected),
            failure("commit")
          )
        ),
      remove: Effect.uninterruptible(
        this.steps.take(process, "remove", () => Either.right(this.remove(process)), failure("remove"))
      ),
      changes: this.options.changes ? Option.some(this.changesFor(process)) : Option.none()
    })
  }

  private commit(
    process: Process,
    entry: Entry.Entry,
    expected: Option.Option<Version>
  ): Either.Either<Version, CommitRefused> {
    const current = Option.map(this.held, (h) => h.version)
    if (Option.getOrNull(current) !== Option.getOrNull(expected)) {
      this.world.tell?.(`${process.name} commits too late: another wrote`)
      return Either.left(new CommitRefused({ reason: "Conflict", location }))
    }
    if (!Entry.passesFence(entry, this.fence)) {
      this.world.tell?.(`${process.name} commits too late: its lease has lapsed`)
      return Either.left(new CommitRefused({ reason: "Fenced", location }))
    }
    this.world.tell?.(`${process.name} commits ${describe(entry)}`)
    this.audit.committed(process, this.entry, entry)
    const version = `v${++this.serial}` as Version
    if (Option.getOrUndefined(refreshTokenOf(entry)) !== this.refreshToken) this.changedAt = this.world.now
    if (tokensOf(this.entry) !== tokensOf(Option.some(entry))) {
      this.grantChangedAt.set(process, this.world.now)
    }
    this.fence = Math.max(this.fence, entry.fence)
    this.held = Option.some({ entry: Entry.keepFence(entry, this.fence), version })
    this.notify()
    return Either.right(version)
  }

  private remove(process: Process): boolean {
    const existed = Option.isSome(this.held)
    this.audit.removed(process)
    this.held = Option.none()
    this.changedAt = this.world.now
    this.grantChangedAt.set(process, this.world.now)
    this.notify()
    return existed
  }

  private notify(): void {
    for (const watcher of this.watchers) {
      const { process, tell } = watcher
      if (process.alive) this.world.after(this.options.delay, () => process.deliver(tell))
      else this.watchers.delete(watcher)
    }
  }

  private changesFor(process: Process): Stream.Stream<void, StorageError> {
    return Stream.asyncPush<void>(
      (emit) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const watcher = { process, tell: () => void emit.single(undefined) }
            this.watchers.add(watcher)
            return watcher
          }),
          (watcher) => Effect.sync(() => this.watchers.delete(watcher))
        ),
      { bufferSize: 1, strategy: "sliding" }
    )
  }

  leases(process: Process): Context.Tag.Service<RefreshLease> {
    const fail = (reason: LeaseError["reason"], message: string) => (account: string) =>
      new LeaseError({ reason, account, message })
    const busy = fail("Busy", "Another process refreshes this grant.")
    const down = fail("Unavailable", "The plan says that it fails.")
    let underway = 0
    return {
      acquire: (account, ttl) => {
        const millis = Duration.toMillis(ttl)
        const grant = this.steps.take(
          process,
          "acquire",
          () => Either.fromNullable(this.grant(process, millis), () => busy(account)),
          () => down(account)
        )
        const counted = Effect.ensuring(
          Effect.suspend(() => {
            this.audit.acquiring(process, ++underway)
            return grant
          }),
          Effect.sync(() => underway--)
        )
        const release = (mine: Granted) =>
          Effect.ignore(
            this.steps.take(
              process,
              "release",
              () => Either.right(this.release(mine)),
              () => down(account)
            )
          )
        const renewal = (mine: Granted) =>
          this.steps
            .take(
              process,
              "renew",
              () => Either.right(this.renew(mine, millis)),
              () => down(account)
            )
            .pipe(Effect.ignore, Effect.delay(millis / 3), Effect.forever)
        return Effect.acquireRelease(counted, release).pipe(
          Effect.tap((mine) => Effect.forkScoped(Effect.interruptible(renewal(mine)))),
          Effect.map((mine) => ({
            fence: mine.fence,
            isHeld: this.steps.take(
              process,
              "isHeld",
              () => Either.right(this.confirm(mine)),
              () => down(account)
            )
          }))
        )
      }
    }
  }

  private grant(process: Process, ttl: number): Granted | undefined {
    if (this.holder !== undefined) return undefined
    const fence = nextFence(
      Math.max(this.fence, this.lastGrant?.fence ?? 0),
      process.unsafeCurrentTimeMillis()
    )
    this.lease = { process, fence, until: this.world.now + ttl }
    this.lastGrant = this.lease
    if (this.options.fencesGranted) this.fence = fence
    this.world.tell?.(`${process.name} has the lease`)
    return this.lease
  }

  private confirm(mine: Granted): boolean {
    const held = this.lease === mine && this.world.now < mine.until
    if (held) this.confirmedAt.set(mine.process, this.world.now)
    return held
  }

  private renew(mine: Granted, ttl: number): void {
    if (this.world.now < mine.until) mine.until = this.world.now + ttl
  }

  private release(mine: Granted): void {
    this.world.tell?.(`${mine.process.name} gives its lease back`)
    if (this.lease === mine) this.lease = undefined
  }
}

export const refreshTokenOf = (entry: Entry.Entry): Option.Option<string> =>
  Option.map(entry.credentials.refreshToken, Redacted.value)

const tokensOf = (entry: Option.Option<Entry.Entry>): string =>
  [Option.map(entry, (e) => Redacted.value(e.credentials.accessToken)), Option.flatMap(entry, refreshTokenOf)]
    .map(Option.getOrElse(() => ""))
    .join(" ")

const describe = (entry: Entry.Entry): string =>
  [
    Option.getOrElse(refreshTokenOf(entry), () => "no refresh token"),
    Redacted.value(entry.credentials.accessToken),
    `generation ${entry.generation}`,
    ...(Option.isSome(entry.intent) ? [`about to be spent (${entry.intent.value.attempt})`] : []),
    ...(Option.isSome(entry.dead) ? ["dead"] : [])
  ].join(", ")
