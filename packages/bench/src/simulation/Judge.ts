/** Watches a history and says what must not have happened. */
import type * as Credentials from "@latchkey/core/Credentials"
import type * as Entry from "@latchkey/core/Entry"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import type { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { type AuthServer, type Issued, mark, policyOf, type Request, type Witness } from "./AuthServer.js"
import type { Plan, Step } from "./Plan.js"
import type { Steps } from "./Steps.js"
import { type Audit, refreshTokenOf, type Store } from "./Store.js"
import type { Process, World } from "./World.js"

/** An invariant that did not hold: its name, and how. */
export interface Broken {
  readonly code: string
  readonly text: string
}

/** For how long after a caller who asked for a new token in any case a request may still be for it. */
const aftermath = 300_000

/** How long it takes at most, where nothing is slow, from a question to the request that it brings about. */
const soon = 10_000

/** What is known of one process. */
export class Notes {
  /** Callers under way who asked for more than a valid token. */
  insistent = 0
  forcing = 0
  insistedAt = Number.NEGATIVE_INFINITY
  coolingUntil = 0
  coolingReason = ""
  /** How new what it knows of the grant is, for which it cools down. */
  coolingKnown = 0
  /** The token that it served last, unless it was told to forget it. */
  served: string | undefined
  /** What resource servers refused, as it was told. */
  readonly rejected = new Set<string>()
  /** The same, and what it is just being told. */
  readonly refused = new Set<string>()
  /** Refresh tokens that it was given and knows. */
  readonly received = new Set<Issued>()
  request: Request | undefined
  refusedAt = Number.NEGATIVE_INFINITY
  refreshing = 0
  /** When the last refresh began, and when it ended. */
  refreshingAt = Number.NEGATIVE_INFINITY
  refreshedAt = Number.NEGATIVE_INFINITY
  /** When its scope began to close. */
  closingAt = Infinity
  /** What it may write without a lease: credentials of a login. */
  readonly logins = new Set<string>()
  /** Its last note of a request that repeats another, and whether the window was open by then. */
  repeats: { readonly intent: Entry.Intent; readonly open: boolean } | undefined
  clearing = 0
  /** What its user does to the credentials just now. */
  byUser = 0
  /** When that last ended. */
  savedAt = Number.NEGATIVE_INFINITY
}

export class Judge implements Witness, Audit {
  readonly broken: Array<Broken> = []
  /** A request of one who had lost the lease without knowing killed the grant. */
  private ghosts = false
  /** A spent token was sent once more as the last resort, and killed the grant. */
  private lastResort = false
  revoked = false
  private cleared = false
  /** When a grant that was marked as dead was removed. */
  private deadRemovedAt = Number.NEGATIVE_INFINITY
  /** Who was given a refresh token first, and when. */
  private readonly givenTo = new Map<Issued, { readonly process: Process; readonly at: number }>()
  /** When a grant was stored where there had been none. */
  private absentUntil = Number.NEGATIVE_INFINITY
  /** Refresh tokens that were in storage at some time. */
  readonly stored = new Set<string>()
  /** Refresh tokens that were sent again, after an attempt of which nobody knew what became. */
  private readonly repeated = new Set<string>()
  private readonly notes = new WeakMap<Process, Notes>()
  private readonly calm: boolean
  /** Whether storage and lease do what they are asked. */
  private readonly onlyTheNetwork: boolean
  readonly clocksRight: boolean

  constructor(
    private readonly world: World,
    private readonly plan: Plan,
    private readonly parts: () => {
      readonly server: AuthServer
      readonly store: Store
      readonly steps: Steps
    }
  ) {
    this.calm = plan.setting.weather === "calm"
    this.onlyTheNetwork = plan.faults.every(({ on }) => on === "redeem")
    this.clocksRight =
      plan.setting.offsets.every((offset) => offset === 0) &&
      !plan.rounds.some(({ deeds }) => deeds.some(({ deed }) => deed.is === "jump"))
  }

  of(process: Process): Notes {
    let notes = this.notes.get(process)
    if (notes === undefined) this.notes.set(process, (notes = new Notes()))
    return notes
  }

  breaks(code: string, text: string): void {
    this.world.tell?.(`*** ${code}: ${text}`)
    if (this.broken.length < 20) this.broken.push({ code, text })
  }

  /** Nothing that anybody can see has a token in it. */
  scan(where: string, text: string): void {
    if (text.includes(mark)) this.breaks("secret", `a token is in ${where}`)
  }

  /** Whether it may have lost the lease since it last asked, and could not know. */
  private unaware(process: Process): boolean {
    const { steps, store } = this.parts()
    const confirmedAt = store.confirmedAt.get(process)
    if (confirmedAt === undefined) return false
    return (
      // It was told so just now, and the lease lapsed before it heard.
      this.world.now - confirmedAt <= this.plan.setting.latency.lease ||
      !process.alive ||
      process.stoppedAt >= confirmedAt ||
      this.world.now - (steps.leaseTrouble.get(process) ?? Number.NEGATIVE_INFINITY) < aftermath
    )
  }

  /**
   * Who was given the successor of this refresh token and still has to store it, and could keep the lease for that:
   * nobody else may send the old one again, and it cannot be lost. One that was stopped, or whose lease met with a
   * mishap, may have lost the lease.
   */
  private keeper(issued: Issued): Process | undefined {
    const { steps } = this.parts()
    for (const child of issued.children) {
      const given = this.givenTo.get(child)
      if (given === undefined || this.stored.has(child.token)) continue
      const { at, process } = given
      const trouble = Math.max(steps.leaseTrouble.get(process) ?? Number.NEGATIVE_INFINITY, process.stoppedAt)
      const { closingAt, savedAt } = this.of(process)
      const isUndisturbed = trouble < at - aftermath && !process.frozen
      // What its user saved or removed since takes the place of it.
      if (process.alive && closingAt === Infinity && isUndisturbed && savedAt < at) return process
    }
    return undefined
  }

  sending(process: Process, token: string): void {
    const { server, store } = this.parts()
    const notes = this.of(process)
    const who = `${process.name} sends ${token}`
    const holds = store.holder === process
    if (!holds && !this.unaware(process)) this.breaks("no-lease", `${who} without the lease`)
    for (const other of server.requests) {
      const excused =
        other.process !== process && (!other.process.alive || this.unaware(other.process) || !holds)
      if (!excused) this.breaks("two-at-once", `${who} while ${other.process.name} waits for an answer`)
    }
    const entry = Option.getOrUndefined(store.entry)
    const issued = server.tokens.get(token)!
    if (store.refreshToken !== token) {
      const same = server.tokens.get(store.refreshToken ?? "")?.family === issued.family
      if (same && holds) this.breaks("stale-token", `${who}, and storage has ${store.refreshToken}`)
    } else if (entry !== undefined && holds) {
      if (Option.getOrUndefined(entry.intent)?.fingerprint !== Fingerprint.of(Redacted.make(token))) {
        this.breaks("no-intent", `${who}, and storage does not say so`)
      }
      if (Option.exists(entry.dead, (dead) => dead.fingerprint === Fingerprint.of(Redacted.make(token)))) {
        this.breaks("posted-dead", `${who}, which is known to be dead`)
      }
      if (this.clocksRight && this.asksToWait(process, entry)) {
        this.breaks("asked-to-wait", `${who}, and the server asked to wait`)
      }
      const keeper = this.keeper(issued)
      if (keeper !== undefined && keeper !== process) {
        this.breaks("spent-unsaved", `${who}, whose successor ${keeper.name} has and could not store yet`)
      }
      this.needed(process, notes, entry, who)
      for (const child of issued.children) {
        if (notes.received.has(child) && !this.stored.has(child.token)) {
          this.breaks("dropped", `${who}, which it was given ${child.token} for`)
        }
      }
    }
    // What others did to the grant since ends it by rule.
    const cooling =
      notes.coolingUntil > process.unsafeCurrentTimeMillis() &&
      !store.changedByOthers(process, notes.coolingKnown)
    if (cooling && (notes.forcing === 0 || notes.coolingReason === "ServerAsked") && this.clocksRight) {
      this.breaks("cool-down", `${who} before its cool-down is over (${notes.coolingReason})`)
    }
  }

  /** What the server asked of one is there for all, unless storage or the lease was in the way. */
  private expectWait(process: Process, { coolingReason, coolingUntil, request }: Notes): void {
    const { store } = this.parts()
    const isWritten = Option.exists(store.entry, (entry) => this.asksToWait(process, entry))
    if (
      coolingReason === "ServerAsked" &&
      coolingUntil > process.unsafeCurrentTimeMillis() &&
      store.holder === process &&
      request?.over === true &&
      store.refreshToken === request.token.token &&
      this.clocksRight &&
      this.onlyTheNetwork &&
      !isWritten
    ) {
      this.breaks("unwritten-wait", `${process.name} is asked to wait, and storage does not say so`)
    }
  }

  private asksToWait(process: Process, { serverWait }: Entry.Entry): boolean {
    const now = process.unsafeCurrentTimeMillis()
    return Option.exists(serverWait, ({ at, until }) => at <= now && now < until)
  }

  /** A request is for a token that is due, or that somebody does not want, or for the answer to another one. */
  private needed(process: Process, notes: Notes, { credentials, intent }: Entry.Entry, who: string): void {
    if (!this.clocksRight) return
    const { config, lifetime, rotation } = this.plan.setting
    const left = timeLeft(credentials, process)
    if (rotation._tag !== "Reusable" && Option.exists(intent, ({ attempt }) => attempt > 1)) {
      const { repeats } = notes
      const known = repeats !== undefined && Equal.equals(Option.some(repeats.intent), intent)
      const wanted = notes.forcing > 0 || notes.refused.has(Redacted.value(credentials.accessToken))
      if (left > 0 && known && !repeats.open && !wanted) {
        this.breaks("last-resort", `${who} again, outside the window, with ${left} ms left`)
      }
      return
    }
    if (notes.refused.has(Redacted.value(credentials.accessToken))) return
    if (notes.insistent > 0 || this.world.now - notes.insistedAt < aftermath) return
    if (left > Math.min(config.refreshGrace, lifetime / 2)) {
      this.breaks("needless", `${who}, whose access token has ${left} ms left`)
    }
  }

  /**
   * Whether a request whose answer was not seen may be sent again without harm. That is decided after storage
   * was read for it: where the window was over by then, nothing opens it.
   */
  private noteReplay(process: Process, before: Option.Option<Entry.Intent>, intent: Entry.Intent): void {
    const { store } = this.parts()
    if (Option.isNone(before)) return
    const readAgo = this.world.now - (store.readAt.get(process) ?? this.world.now)
    const readAt = process.unsafeCurrentTimeMillis() - readAgo
    this.of(process).repeats = { intent, open: readAt < this.endOfWindow(before.value) }
  }

  private endOfWindow({ at }: Entry.Intent): number {
    const policy = policyOf(this.plan.setting.rotation)
    return policy._tag === "Reusable" ? at : at + Duration.toMillis(policy.window)
  }

  /** Somebody asks for a token: what a lost answer brought is asked for again, while that can be had. */
  asks(process: Process): void {
    const { server, steps, store } = this.parts()
    const notes = this.of(process)
    const { request } = notes
    const lost = request?.token
    const intent = Option.flatMap(store.entry, (e) => e.intent)
    const now = process.unsafeCurrentTimeMillis()
    const owed = (): boolean =>
      lost !== undefined &&
      request?.over === true &&
      store.refreshToken === lost.token &&
      this.isLost(lost) &&
      process.alive &&
      !process.frozen &&
      !steps.fair &&
      notes.closingAt === Infinity
    const open = Option.exists(intent, (i) => now + soon < this.endOfWindow(i))
    // Who joins a refresh that is about to end is given what came of it, and nobody asks again.
    const isFree =
      server.requests.length === 0 &&
      store.holder === undefined &&
      notes.byUser === 0 &&
      notes.refreshing === 0
    if (!this.clocksRight || !this.onlyTheNetwork || !open || !isFree || notes.coolingUntil > now || !owed())
      return
    if (Option.exists(store.entry, (entry) => this.asksToWait(process, entry))) return
    const { sent } = server
    this.world.after(soon, () => {
      if (owed() && server.sent === sent) {
        this.breaks("not-repeated", `${process.name} does not send ${lost?.token} again within the window`)
      }
    })
  }

  redeemed(request: Request, outcome: "Granted" | "Replayed" | "Reused" | "Refused"): void {
    const { store } = this.parts()
    const { process, token } = request
    this.of(process).request = request
    if (outcome !== "Reused" && outcome !== "Replayed") return
    if (this.plan.setting.rotation._tag === "Reusable") return
    // Nor can a client call back what it gave up.
    const ghost = request.over || (store.holder !== process && this.unaware(process))
    if (outcome === "Reused") {
      if (ghost) this.ghosts = true
      // While somebody has the successor, to send its predecessor again is no last resort.
      else if (this.keeper(token) === undefined) this.lastResort = true
    }
    if (!ghost && token.children.some((child) => this.stored.has(child.token))) {
      this.breaks("spent-twice", `${process.name} redeems ${token.token} again, whose successor is stored`)
    }
  }

  answered(request: Request, answer: Either.Either<unknown, RefreshError>): void {
    if (Either.isLeft(answer) && answer.left.reason === "GrantDead") {
      this.of(request.process).refusedAt = this.world.now
    }
  }

  abandoned(request: Request): void {
    const { process, sentAt } = request
    const { refreshTimeout } = this.plan.setting.config
    const { closingAt } = this.of(process)
    // The scope waits a little longer than a refresh may take.
    if (this.world.now - sentAt < refreshTimeout - 1 && this.world.now - closingAt < refreshTimeout) {
      this.breaks(
        "interrupted",
        `a request of ${process.name} was given up after ${this.world.now - sentAt} ms`
      )
    }
  }

  committed(process: Process, before: Option.Option<Entry.Entry>, after: Entry.Entry): void {
    const { server, store } = this.parts()
    const token = Option.getOrUndefined(refreshTokenOf(after))
    const who = `${process.name} commits ${token}`
    if (token === undefined) return this.breaks("blanked", `${process.name} commits no refresh token`)
    this.stored.add(token)
    if (Option.isNone(before)) this.absentUntil = this.world.now
    if (Option.exists(after.intent, ({ attempt }) => attempt > 1)) this.repeated.add(token)
    if (after.fence === 0 && this.of(process).logins.has(token)) return
    if (Option.exists(after.intent, ({ attempt }) => attempt > 1)) {
      this.noteReplay(
        process,
        Option.flatMap(before, (b) => b.intent),
        Option.getOrThrow(after.intent)
      )
    }
    if (after.fence === 0) this.breaks("no-fence", `${who} without a fence`)
    const { lastGrant } = store
    if (this.plan.setting.fencesGranted && lastGrant !== undefined && lastGrant.process !== process) {
      this.breaks("stale-commit", `${who} after ${lastGrant.process.name} was given the lease`)
    }
    if (Option.isNone(before)) return this.breaks("overwritten", `${who} after the grant was removed`)
    const old = Option.getOrUndefined(refreshTokenOf(before.value))!
    if (token !== old && !descends(server.tokens.get(token), old)) {
      return this.breaks("overwritten", `${who} over ${old}, which it does not come from`)
    }
    const grew = after.generation - before.value.generation
    if (grew < 0 || (token !== old && grew === 0))
      this.breaks("generation", `${who} as generation ${after.generation}`)
    if (after.family !== before.value.family) this.breaks("family", `${who} as another family`)
    const order = (entry: Entry.Entry) =>
      server.accessTokens.indexOf(Redacted.value(entry.credentials.accessToken))
    if (order(after) < order(before.value)) this.breaks("overwritten", `${who} with an older access token`)
    if (Option.isSome(after.dead) && Option.isNone(before.value.dead) && server.canRefresh(token)) {
      this.breaks("buried-alive", `${who} as dead, which can be refreshed`)
    }
  }

  removed(process: Process): void {
    this.cleared = true
    if (Option.exists(this.parts().store.entry, ({ dead }) => Option.isSome(dead))) {
      this.deadRemovedAt = this.world.now
    }
    if (this.of(process).clearing === 0) this.breaks("deleted", `${process.name} removes the grant`)
  }

  /** Of a process's own managers one asks for the lease, and what saves a rotation behind at most. */
  acquiring(process: Process, underway: number): void {
    if (underway > 2)
      this.breaks("single-flight", `${process.name} asks for the lease ${underway} times at once`)
  }

  /** What is logged, also as an event. */
  logged(process: Process, message: string, fields: ReadonlyMap<string, unknown>): void {
    const notes = this.of(process)
    switch (message) {
      case "latchkey: CoolingDown":
        notes.coolingUntil = Number(fields.get("until"))
        notes.coolingReason = String(fields.get("reason"))
        notes.coolingKnown = this.parts().store.readAt.get(process) ?? 0
        this.expectWait(process, notes)
        return
      case "latchkey: Refreshed":
        this.receives(process, notes)
        notes.coolingUntil = 0
        return
      case "latchkey: RefreshFailed":
        if (fields.get("reason") === "Malformed") this.receives(process, notes)
        return
      case "latchkey: Adopted":
      case "latchkey: Cleared":
      case "latchkey: Saved":
        notes.coolingUntil = 0
    }
  }

  private receives(process: Process, notes: Notes): void {
    const brought = notes.request?.over === true ? notes.request.brought : undefined
    if (brought === undefined) return
    notes.received.add(brought)
    if (!this.givenTo.has(brought)) this.givenTo.set(brought, { process, at: this.world.now })
  }

  span(process: Process, name: string, begins: boolean): void {
    if (name !== "latchkey.refresh") return
    const notes = this.of(process)
    notes.refreshing += begins ? 1 : -1
    if (begins) notes.refreshingAt = this.world.now
    else notes.refreshedAt = this.world.now
    if (notes.refreshing > 1) this.breaks("single-flight", `${process.name} refreshes twice at once`)
  }

  /** A token that a caller was given. */
  serves(
    process: Process,
    token: string,
    asked: {
      readonly minValidity: number
      /** What was not wanted. */
      readonly not: ReadonlySet<string>
    }
  ): void {
    const { server } = this.parts()
    const notes = this.of(process)
    notes.served = token
    const expiry = server.expiries.get(token)
    if (expiry === undefined)
      return this.breaks("no-token", `${process.name} serves what the server never gave`)
    if (this.clocksRight && this.world.now + asked.minValidity >= expiry) {
      this.breaks("stale", `${process.name} serves ${token}, which ends in ${expiry - this.world.now} ms`)
    }
    const ends = server.told.get(token) ?? Infinity
    if (process.unsafeCurrentTimeMillis() + asked.minValidity >= ends) {
      this.breaks("expired", `${process.name} serves ${token}, which has ended by its own clock`)
    }
    // A manager that is closed takes no word of a resource server any more.
    if (asked.not.has(token) && notes.closingAt === Infinity)
      this.breaks("unwanted", `${process.name} serves ${token}, which was not wanted`)
  }

  /** A caller was told that only a login helps. */
  sendsToLogin(process: Process, reason: string, askedAt: number): void {
    const { server, store } = this.parts()
    const { refusedAt } = this.of(process)
    const knownAt = Math.max(store.readAt.get(process) ?? 0, refusedAt)
    if (store.changedAt >= knownAt) return
    // It was so at some time since it was asked, or while its user saved: that counts as done when it is answered.
    const { byUser, savedAt } = this.of(process)
    const absent = byUser > 0 || Math.max(this.absentUntil, savedAt) >= askedAt
    if (reason === "NoCredentials" && absent) return
    // Its own refresh was refused, and others have read since.
    const isRefusal = reason === "GrantDead" || reason === "RotationLost"
    if (isRefusal && refusedAt <= store.changedAt && this.joined(process, askedAt, refusedAt)) return
    // It was dead when it was read, and was removed on the way here.
    if (isRefusal && this.deadRemovedAt >= askedAt) return
    const token = store.refreshToken
    const who = `${process.name} says ${reason}`
    if (token === undefined || reason === "NoCredentials") {
      if ((token === undefined) !== (reason === "NoCredentials")) {
        this.breaks("false-alarm", `${who}, and storage has ${token ?? "nothing"}`)
      }
      return
    }
    if (reason === "NoRefreshToken" || server.canRefresh(token)) {
      return this.breaks("false-alarm", `${who}, and ${token} can be refreshed`)
    }
    const issued = server.tokens.get(token)!
    const lost = this.isLost(issued)
    if (lost && reason !== "RotationLost")
      this.breaks("untyped", `${who}, and the successor of ${token} was lost`)
    if (!lost && !issued.uncertain && !this.repeated.has(token) && reason === "RotationLost") {
      this.breaks("untyped", `${who}, and no answer for ${token} was lost`)
    }
  }

  /** Whether who asked then waits for the refresh that was refused. */
  private joined(process: Process, askedAt: number, refusedAt: number): boolean {
    const { refreshedAt, refreshing, refreshingAt } = this.of(process)
    return refreshingAt <= refusedAt && (refreshing > 0 || askedAt <= refreshedAt)
  }

  /** Whether it was redeemed, and what it brought is not in storage. */
  isLost(issued: Issued): boolean {
    return issued.children.length > 0 && !issued.children.some((child) => this.stored.has(child.token))
  }

  /** A caller got no token, and may have one later. */
  withholds(process: Process, is: string, reason: string, served: string | undefined): void {
    const { store } = this.parts()
    const notes = this.of(process)
    const who = `${process.name} fails ${is} with ${reason}`
    const rejects = this.plan.rounds.some(({ deeds }) =>
      deeds.some(({ deed }) => deed.is === "ask" && deed.ask.is === "reject")
    )
    if (
      this.calm &&
      is === "get" &&
      this.plan.setting.lifetime >= 20_000 &&
      !(rejects && reason === "CoolingDown")
    ) {
      this.breaks("calm-failure", `${who}, and nothing is wrong`)
    }
    if (reason === "RolledBack") this.breaks("false-alarm", `${who}, and storage never went back`)
    const stored = Option.getOrUndefined(store.entry)?.credentials
    if (
      is !== "get" ||
      stored === undefined ||
      notes.served === undefined ||
      notes.closingAt < Infinity ||
      !this.clocksRight
    )
      return
    const token = Redacted.value(stored.accessToken)
    const valid = timeLeft(stored, process) > 0 && !notes.refused.has(token)
    // It had the token before, and nobody took it away.
    if (valid && token === served && notes.served === served) {
      this.breaks("withheld", `${who}, although ${token} is valid`)
    }
  }

  /** A step that was taken after the manager was closed. */
  worksOn(process: Process, on: Step): void {
    // Its user may still save or remove credentials.
    if (this.of(process).byUser === 0)
      this.breaks("works-on", `${process.name} asks for ${on} after it was closed`)
  }

  /** What is lost for good by now: that callers are told is another matter. */
  loss(): Loss | undefined {
    const { server, store } = this.parts()
    const token = store.refreshToken
    if (token === undefined) return "Removed"
    if (server.canRefresh(token)) return undefined
    return this.isLost(server.tokens.get(token)!) ? "RotationLost" : "GrantDead"
  }

  /** What the last caller of a process was told, all being well again. */
  ends(process: Process, ending: Ending | undefined): void {
    const loss = this.loss()
    if (ending === undefined) return this.breaks("hang", `the last caller of ${process.name} gets no answer`)
    const who = `the last caller of ${process.name} gets ${ending.token ?? ending.error}`
    if (loss === undefined) {
      if (ending.token === undefined) this.breaks("unavailable", `${who}, and the grant is alive`)
      return
    }
    const told = loss === "Removed" ? ["NoCredentials"] : ["RotationLost", "GrantDead"]
    if (!told.includes(ending.error ?? "")) this.breaks("untyped", `${who}, and the end is ${loss}`)
    if (!this.mayLose(loss)) this.breaks("lost", `${loss}, and nothing explains it`)
  }

  /** Nobody could save the grant. */
  private mayLose(loss: Loss): boolean {
    const { rotation } = this.plan.setting
    if (loss === "Removed") return this.cleared || this.stored.size === 0
    if (this.revoked || this.ghosts) return true
    if (this.calm || rotation._tag === "Reusable" || rotation._tag === "PredecessorValid") return false
    const windowed = rotation._tag !== "Strict" && rotation.window > this.world.now
    if (windowed) return false
    if (loss !== "RotationLost") return this.lastResort
    // Nor is what somebody still has.
    const { server, store } = this.parts()
    const issued = server.tokens.get(store.refreshToken ?? "")
    return issued === undefined || this.keeper(issued) === undefined
  }
}

/** \`RotationLost\`: the stored refresh token is spent and its successor nowhere; \`GrantDead\`: it is refused. */
export type Loss = "RotationLost" | "GrantDead" | "Removed"

export type Ending =
  { readonly token: string; readonly error?: never } | { readonly error: string; readonly token?: never }

/** Not by the core, which may be broken on purpose. */
const timeLeft = ({ expiresAt }: Credentials.Credentials, process: Process): number =>
  Option.getOrElse(expiresAt, () => Infinity) - process.unsafeCurrentTimeMillis()

const descends = (token: Issued | undefined, from: string): boolean => {
  for (let one = token; one !== undefined; one = one.parent) if (one.token === from) return true
  return false
}
