/**
 * What a manager holds in memory of its grant: one mutable record, changed only by the synchronous
 * functions here, so that no fiber ever sees half a change.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { AuthStatus, Warning } from "../AuthStatus.js"
import * as Credentials from "../Credentials.js"
import * as Decision from "../Decision.js"
import * as Entry from "../Entry.js"
import type * as GrantIdentity from "../GrantIdentity.js"
import type { Profile } from "../Profile.js"
import * as Rotation from "../RotationPolicy.js"
import { identityOf } from "../TokenRefresher.js"
import type { Version, Versioned } from "../TokenStorage.js"

/** A refresh that is not in storage yet: the new entry, and the one whose refresh token it spent. */
export interface Unsaved {
  readonly entry: Entry.Entry
  readonly base: Option.Option<Entry.Entry>
}

/** The door of the fast path: between `from` and `until` the answer needs no thought. */
export interface Door {
  readonly from: number
  readonly until: number
  readonly answer: Effect.Effect<Redacted.Redacted>
  readonly token: Option.Option<Redacted.Redacted>
}

export type Noted = "Unchanged" | "Changed" | "RolledBack"

const never = Number.NEGATIVE_INFINITY

/** How long a resource server's second rejection counts as one of fresh tokens in a row. */
const rejectionMemory = 600_000

/** For how long, in milliseconds, the door stays open at most: a clock that was set back comes by it once more. */
const longestOpen = Decision.clockTolerance

/** A moment by both clocks: the one on the wall, which may be set, and the one that only runs. */
interface Moment {
  readonly wall: number
  readonly uptime: number
}

/** The access token that is held, and since when: see {@link Decision.Witness}. */
interface Holding extends Moment {
  readonly credentials: Credentials.Credentials
  readonly isOwn: boolean
  readonly absentAt: Moment | undefined
}

/** One for all grants at rest. */
const closed: Door = { from: Infinity, until: never, answer: Effect.never, token: Option.none() }

export class GrantState {
  door: Door = closed
  status: Option.Option<{ readonly status: AuthStatus; readonly at: number }> = Option.none()
  profile: Option.Option<Profile> = Option.none()
  coolDown: Option.Option<Decision.CoolingDown> = Option.none()
  unsaved: Option.Option<Unsaved> = Option.none()
  /** What the last failed refresh said, for those who meet the cool-down after it. */
  lastFailure = ""

  /** Rises whenever this manager changes the grant, or takes in a change: a read that began before may be out of date. */
  epoch = 0
  /** How many refreshes were answered that are of any use. */
  answers = 0
  private stored: Versioned | undefined = undefined
  /** When what is in memory was read from storage or written there. */
  loadedAt = never
  private forgotten = false
  /** The latest entry of this grant ever seen here: what a rolled-back storage is recognised by. */
  private seen: Entry.Entry | undefined = undefined
  /** The mark of a dead grant that storage may not have taken. */
  private dead: Option.Option<Entry.DeadGrant> = Option.none()
  /** What our own note of a refresh means: nothing while that is under way, or once its outcome is known. */
  private noted: Option.Option<{
    readonly intent: Entry.Intent
    readonly means: Option.Option<Entry.Intent>
    readonly known: boolean
  }> = Option.none()
  private holding: Holding | undefined = undefined
  /** When storage was last read. */
  private readAt: Moment | undefined = undefined
  /** By how much our clock was ahead of the server's when that was measured. */
  private measured: (Moment & { readonly ahead: number }) | undefined = undefined
  private rejection: Option.Option<{ readonly token: string; readonly at: number; readonly count: number }> =
    Option.none()

  constructor(
    private readonly policy: Decision.Policy,
    private readonly refresher: {
      readonly needsRefreshToken: boolean
      readonly rotation: Rotation.RotationPolicy
      readonly serverAhead?: () => number
      readonly identity?: GrantIdentity.GrantIdentity | undefined
      readonly formerly?: ReadonlyArray<string> | undefined
      readonly clientIdIn?: ((credentials: Credentials.Credentials) => Option.Option<string>) | undefined
    },
    readonly jitterShare: number,
    private readonly clock: Clock.Clock
  ) {}

  private get moment(): Moment {
    return {
      wall: this.clock.unsafeCurrentTimeMillis(),
      uptime: Number(this.clock.unsafeCurrentTimeNanos() / 1_000_000n)
    }
  }

  /** What is known of the age of the access token that is held. */
  get witness(): Decision.Witness {
    const { credentials, holding, measured } = this
    if (holding === undefined && measured === undefined) return Decision.noWitness
    const now = this.moment
    const isHeld =
      holding !== undefined &&
      Option.isSome(credentials) &&
      isSameToken(holding.credentials, credentials.value)
    return {
      ahead:
        measured !== undefined && Math.abs(stepped(measured, now)) <= Decision.clockTolerance
          ? Option.some(measured.ahead)
          : Option.none(),
      heldSince: isHeld ? since(holding, now) : Infinity,
      isOwn: isHeld && holding.isOwn,
      absentAt:
        isHeld && holding.absentAt !== undefined ? since(holding.absentAt, now) : Number.NEGATIVE_INFINITY,
      setBack: isHeld ? Math.max(0, -stepped(holding, now)) : 0
    }
  }

  /** Notes since when the access token in memory is held; false if it is the one that was held before. */
  private hold(from: Moment, isOwn: boolean, absentAt?: Moment): boolean {
    const { holding } = this
    const credentials = Option.getOrUndefined(this.credentials)
    if (credentials === undefined) {
      this.holding = undefined
      return true
    }
    if (holding !== undefined && isSameToken(holding.credentials, credentials)) {
      this.holding = { ...holding, credentials }
      return false
    }
    this.holding = { ...from, credentials, isOwn, absentAt }
    return true
  }

  isExpired(now: number): boolean {
    return Option.exists(this.credentials, (c) => Decision.isExpired(c, now, this.witness))
  }

  timeLeft(now: number): Option.Option<number> {
    return Option.flatMap(this.credentials, (c) => Decision.timeToExpiry(c, now, this.witness))
  }

  /** The newest entry: the one that could not be saved yet, or else the stored one. */
  get entry(): Option.Option<Entry.Entry> {
    if (Option.isSome(this.unsaved)) return Option.some(this.unsaved.value.entry)
    return this.stored === undefined ? Option.none() : Option.some(this.stored.entry)
  }

  get credentials(): Option.Option<Credentials.Credentials> {
    const { entry } = this
    return Option.isSome(entry) ? Option.some(entry.value.credentials) : Option.none()
  }

  /** Whether what storage holds was forgotten on request: that memory has no entry says nothing about it. */
  get isForgotten(): boolean {
    return this.forgotten
  }

  get version(): Option.Option<Version> {
    return Option.map(Option.fromNullable(this.stored), (s) => s.version)
  }

  /** What the stored grant has been compared with already: it is asked for often, and changes with the entry alone. */
  private compared:
    { readonly entry: Entry.Entry; readonly mismatch: Option.Option<GrantIdentity.Mismatch> } | undefined =
    undefined

  /** In what the grant differs from those that the refresher may redeem, if in anything. */
  get mismatch(): Option.Option<GrantIdentity.Mismatch> {
    const { refresher } = this
    const entry = Option.getOrUndefined(this.entry)
    if (refresher.identity === undefined || entry === undefined) return Option.none()
    if (this.compared?.entry !== entry) {
      const current = identityOf(refresher, entry.credentials)
      const mismatch = Option.flatMap(current, (own) => Entry.mismatch(entry, own, refresher.formerly))
      this.compared = { entry, mismatch }
    }
    return this.compared.mismatch
  }

  get rejected(): boolean {
    const { credentials, rejection } = this
    return (
      Option.isSome(rejection) &&
      Option.isSome(credentials) &&
      rejection.value.token === Redacted.value(credentials.value.accessToken)
    )
  }

  /** What the decision sees. */
  get held(): Decision.Held {
    const { credentials, entry } = this
    const dead = Option.filter(
      Option.isSome(this.dead) || Option.isNone(entry) ? this.dead : entry.value.dead,
      // What needs no refresh token cannot be ended by the refusal of one, whoever wrote the mark.
      (d) =>
        this.refresher.needsRefreshToken &&
        Option.exists(credentials, (c) => Entry.grantFingerprint(c) === d.fingerprint)
    )
    return {
      credentials,
      loadedAt: this.loadedAt,
      refreshable:
        !this.refresher.needsRefreshToken ||
        (Option.isSome(credentials) && Option.isSome(credentials.value.refreshToken)),
      mismatch: this.mismatch,
      dead,
      rejected: this.rejected,
      coolDown: this.coolDown,
      serverWait: Option.isSome(entry) ? entry.value.serverWait : Option.none(),
      unanswered: this.unanswered,
      rotation: this.refresher.rotation,
      serverAhead: this.refresher.serverAhead?.() ?? 0,
      jitterShare: this.jitterShare,
      witness: this.witness
    }
  }

  /** The note of a refresh whose answer nobody has seen, as far as is known here. */
  get unanswered(): Option.Option<Entry.Intent> {
    const { entry, noted } = this
    // Most of the time there is none, and it is asked for often.
    if (Option.isNone(entry) || Option.isNone(entry.value.intent)) return Option.none()
    const written = Entry.unanswered(entry.value)
    return Option.isSome(noted) && Option.contains(written, noted.value.intent) ? noted.value.means : written
  }

  replay(now: number): Option.Option<Rotation.Replay> {
    return Rotation.replay(this.refresher.rotation, this.unanswered, now)
  }

  /** Our own note is no news while its refresh is under way. */
  noteIntent(intent: Entry.Intent): void {
    this.noted = Option.some({ intent, means: Option.none(), known: false })
    this.shut()
  }

  /** Whether a refresh token was noted as being spent here, and what became of that is still open. */
  get isRedeeming(): boolean {
    return Option.exists(this.noted, ({ known }) => !known)
  }

  /** What became of our refresh is known, even if storage does not take that: `before` is what stays open. */
  noteKnown(before: Option.Option<Entry.Intent>): void {
    this.noted = Option.map(this.noted, ({ intent }) => ({ intent, means: before, known: true }))
    this.shut()
  }

  /** The refresh is over: unless its outcome is known, our note is one like any other. */
  noteEnded(): void {
    if (Option.isNone(this.noted)) return
    this.noted = Option.filter(this.noted, ({ known }) => known)
    this.shut()
  }

  warnings(now: number): ReadonlyArray<Warning> {
    const { held } = this
    return [
      ...(Option.isSome(this.unsaved) ? (["Unsaved"] as const) : []),
      ...(Option.isSome(held.dead) ? (["GrantDead"] as const) : []),
      ...(Option.isSome(Decision.cooling(held, now)) ? (["CoolingDown"] as const) : []),
      ...(this.isGraceTooLong ? (["GraceClamped"] as const) : []),
      ...(Option.isSome(held.mismatch) ? (["GrantMismatch"] as const) : [])
    ]
  }

  private get isGraceTooLong(): boolean {
    return Option.exists(this.credentials, (c) => Decision.isGraceTooLong(c, this.policy.grace))
  }

  /** What is taken for a grace that cannot be meant, in words; empty where it can. */
  get graceClamped(): string {
    return Option.match(
      Option.filter(this.credentials, () => this.isGraceTooLong),
      {
        onNone: () => "",
        onSome: (c) =>
          `; the grace of ${this.policy.grace / 1000} s is not below the token's lifetime: ` +
          `${Decision.clampedGrace(c, this.policy.grace) / 1000} s is taken`
      }
    )
  }

  /** The last status, while it is younger than `ttl` and its token has not expired since. */
  cachedStatus(now: number, ttl: number): Option.Option<AuthStatus> {
    return Option.filterMap(this.status, ({ at, status }) => {
      const expired = status.authenticated && Option.exists(status.expiresAt, (e) => e <= now)
      return now >= at && now - at < ttl && !expired ? Option.some(status) : Option.none()
    })
  }

  decide(now: number, request: Decision.Request): Decision.Decision {
    return Decision.decide(Option.some(this.held), now, this.policy, request)
  }

  judge(now: number, request: Decision.Request): Decision.Decision {
    return Decision.judge(this.held, now, this.policy, request)
  }

  isFresh(now: number): boolean {
    return Option.exists(this.credentials, (c) =>
      Decision.isFresh(c, this.loadedAt, now, this.policy.credentialsTtl, this.witness)
    )
  }

  /** Opens the door for a token that was judged usable: no thought is needed before `until`. */
  open(token: Redacted.Redacted, until: number, now: number): void {
    this.door = {
      from: now,
      until: Math.min(until, now + longestOpen),
      answer: Effect.succeed(token),
      token: Option.some(token)
    }
  }

  private shut(): void {
    this.door = closed
    this.status = Option.none()
  }

  /** Forgets that memory is fresh: the next question reads storage. */
  stale(): void {
    this.loadedAt = never
    this.shut()
  }

  /** Drops what is in memory, but for a rotation that storage has not taken: that would lose it. */
  invalidate(): void {
    this.forgotten = true
    this.stored = undefined
    this.profile = Option.none()
    this.stale()
  }

  /**
   * Takes in what storage holds. A change of the grant there ends the cool-down, the mark of death and a
   * rotation of ours that it supersedes; while storage only lags behind a rotation, that is kept.
   */
  note(loaded: Option.Option<Versioned>, now: number): Noted {
    if (
      Option.exists(
        Option.zipWith(loaded, Option.fromNullable(this.seen), (l, s) => Entry.isRolledBack(l.entry, s)),
        (b) => b
      )
    ) {
      if (!this.lags(loaded)) return "RolledBack"
    }
    // What was forgotten on request has not changed by being read again.
    const known = Option.orElse(this.entry, () => Option.fromNullable(this.forgotten ? this.seen : undefined))
    const before = Option.map(known, (e) => e.credentials)
    this.forgotten = false
    this.stored = Option.getOrUndefined(loaded)
    this.loadedAt = now
    this.unsaved = Option.filter(this.unsaved, () => this.lags(loaded))
    const { moment } = this
    this.hold(moment, false, this.readAt)
    this.readAt = moment
    this.shut()
    const after = this.credentials
    if (sameGrant(before, after)) return "Unchanged"
    this.epoch++
    this.coolDown = Option.none()
    this.dead = Option.none()
    this.profile = Option.none()
    this.seen = Option.getOrUndefined(this.entry)
    return "Changed"
  }

  /** Whether storage still holds the entry whose refresh token an unsaved rotation spent. */
  private lags(loaded: Option.Option<Versioned>): boolean {
    return Option.exists(this.unsaved, ({ base, entry: unsaved }) =>
      Option.match(base, {
        onNone: () => Option.isNone(loaded),
        onSome: (b) =>
          Option.exists(
            loaded,
            ({ entry }) =>
              entry.family === b.family &&
              Credentials.sameRefreshToken(entry.credentials, b.credentials) &&
              // Where the refresh token stays the same, what a peer has written since is newer, and nothing is lost.
              !(
                entry.generation > b.generation &&
                Credentials.sameRefreshToken(unsaved.credentials, b.credentials)
              )
          )
      })
    )
  }

  /**
   * A refresh was answered: its credentials are in use from now on, saved or not. One that achieved
   * nothing cools down, longer each time.
   */
  noteRefreshed(
    entry: Entry.Entry,
    base: Option.Option<Entry.Entry>,
    now: number,
    heard: { readonly requestedAt: number; readonly serverTime: Option.Option<number> } = {
      requestedAt: now,
      serverTime: Option.none()
    }
  ): void {
    const before = Option.map(base, (b) => b.credentials)
    const failures = Option.match(this.coolDown, {
      onNone: () => 0,
      onSome: (c) => (c.reason === "Ineffective" ? c.failures : 0)
    })
    // Where an earlier rotation is unsaved too, storage lags behind the base of that one.
    const oldest = Option.match(this.unsaved, { onNone: () => base, onSome: (u) => u.base })
    // Unless the grant was cleared, or replaced by a login, while the answer was under way.
    this.unsaved = Option.some({ entry, base: oldest })
    this.unsaved = Option.filter(
      this.unsaved,
      () => this.forgotten || this.lags(Option.fromNullable(this.stored))
    )
    if (Option.isNone(this.unsaved)) return
    this.answers++
    this.epoch++
    this.seen = entry
    this.loadedAt = now
    this.coolDown = Option.none()
    this.dead = Option.none()
    this.noteObtained(Math.max(0, now - heard.requestedAt), heard.serverTime)
    this.shut()
    if (Decision.isIneffective(before, entry.credentials, now, this.witness)) {
      this.cool(now, "Ineffective", Option.none(), failures + 1)
    }
  }

  /** An answer that is of no use brought a new refresh token: what was wrong before has not ended with it. */
  noteSalvaged(entry: Entry.Entry, base: Option.Option<Entry.Entry>, now: number): void {
    const { coolDown } = this
    this.noteRefreshed(entry, base, now)
    this.coolDown = coolDown
  }

  /** An answer that took so long brought this access token, and may say what the server's clock shows. */
  private noteObtained(took: number, serverTime: Option.Option<number>): void {
    const { uptime, wall } = this.moment
    const sent = { wall: wall - took, uptime: uptime - took }
    // A new refresh token alone says nothing of the age of the access token.
    if (!this.hold(sent, true) || Option.isNone(serverTime)) return
    this.measured = { ...sent, ahead: sent.wall - serverTime.value }
  }

  noteCommitted(entry: Entry.Entry, version: Version, now: number): void {
    this.epoch++
    this.forgotten = false
    this.stored = { entry, version }
    this.unsaved = Option.none()
    this.seen = entry
    this.loadedAt = now
    this.readAt = this.moment
    this.hold(
      this.readAt,
      Option.exists(entry.credentials.obtainedAt, (at) => isJustNow(at, now))
    )
    this.shut()
  }

  /**
   * The commit of a refresh went through, begun at `epoch`. Where its user saved or cleared since, or another writer's
   * grant was read, nobody here knows what storage took last: it is read again. Whether memory holds what was written.
   */
  noteOwnCommit(entry: Entry.Entry, version: Version, now: number, epoch: number): boolean {
    const isLast = this.epoch === epoch
    if (isLast) this.noteCommitted(entry, version, now)
    else this.invalidate()
    return isLast
  }

  /**
   * A user's save, begun at `epoch`: a new beginning, whatever was held; but what was taken in since may be newer, and
   * storage is to be read again. What is saved may have been rejected by now all the same. Whether memory holds it.
   */
  noteSaved(entry: Entry.Entry, version: Version, now: number, epoch: number): boolean {
    const isLast = this.epoch === epoch
    if (isLast) {
      const saved = Redacted.value(entry.credentials.accessToken)
      const rejection = Option.filter(this.rejection, ({ token }) => token === saved)
      this.reset()
      this.rejection = rejection
      this.noteCommitted(entry, version, now)
    } else this.stale()
    return isLast
  }

  /** The grant was removed by its user. */
  reset(): void {
    this.epoch++
    this.unsaved = Option.none()
    this.seen = undefined
    this.coolDown = Option.none()
    this.dead = Option.none()
    this.rejection = Option.none()
    this.invalidate()
    this.forgotten = false
  }

  noteDead(dead: Entry.DeadGrant): void {
    this.dead = Option.some(dead)
    this.shut()
  }

  /** How long all who share the grant wait after an answer of the server that it cannot now; see `Decision.backOff`. */
  backOff(now: number): number {
    return Decision.backOff(
      Option.flatMap(this.entry, (e) => e.serverWait),
      now,
      this.policy
    )
  }

  /** Cools down after one more failure; `shared`: what all who share the grant wait for. */
  cool(
    now: number,
    reason: Exclude<Decision.CoolingDown["reason"], "ServerAsked">,
    retryAfter: Option.Option<number> = Option.none(),
    failures = 1 + Option.match(this.coolDown, { onNone: () => 0, onSome: (c) => c.failures }),
    shared: Option.Option<number> = Option.none()
  ): Decision.CoolingDown {
    const next = Decision.coolDown({
      failures,
      now,
      policy: this.policy,
      reason,
      retryAfter,
      shared,
      before: this.coolDown,
      replay: this.replay(now),
      jitterShare: this.jitterShare
    })
    this.coolDown = Option.some(next)
    this.shut()
    return next
  }

  /**
   * A resource server refused `token`. Whether it is the current one: an older one needs no refresh. A
   * fresh token that is refused again cools down before the next refresh.
   */
  reject(token: Redacted.Redacted, now: number): boolean {
    const current = Option.map(this.credentials, (c) => Redacted.value(c.accessToken))
    if (Option.getOrNull(current) !== Redacted.value(token)) return false
    if (this.rejected) return true
    const recent = Option.filter(this.rejection, (r) => Math.abs(now - r.at) < rejectionMemory)
    const count = Option.match(recent, { onNone: () => 1, onSome: (r) => r.count + 1 })
    this.rejection = Option.some({ token: Redacted.value(token), at: now, count })
    this.shut()
    if (count > 1) this.cool(now, "Rejected", Option.none(), count - 1)
    return true
  }
}

/** The same access token, told of in the same words: one that is given out again may live anew from then. */
const isSameToken = (a: Credentials.Credentials, b: Credentials.Credentials): boolean =>
  Credentials.sameAccessToken(a, b) &&
  Option.getOrNull(a.expiresAt) === Option.getOrNull(b.expiresAt) &&
  Option.getOrNull(a.obtainedAt) === Option.getOrNull(b.obtainedAt)

/** A moment by what the wall clock says now, the earlier one where the two clocks disagree. */
const since = (moment: Moment, now: Moment): number =>
  Math.min(now.wall, moment.wall, now.wall - (now.uptime - moment.uptime))

/** By how much the wall clock was set between two moments; a machine that slept seems to have set it ahead. */
const stepped = (before: Moment, now: Moment): number => now.wall - before.wall - (now.uptime - before.uptime)

/** What a user saves fresh from a login was obtained by this clock. */
const isJustNow = (obtainedAt: number, now: number): boolean =>
  Math.abs(now - obtainedAt) <= Decision.clockTolerance

const sameGrant = (
  a: Option.Option<Credentials.Credentials>,
  b: Option.Option<Credentials.Credentials>
): boolean =>
  Option.match(Option.all([a, b]), {
    onNone: () => Option.isNone(a) && Option.isNone(b),
    onSome: ([x, y]) => Credentials.sameAccessToken(x, y) && Credentials.sameRefreshToken(x, y)
  })
