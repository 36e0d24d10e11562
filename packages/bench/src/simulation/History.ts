/** Lets a plan happen, and judges what came of it. */
import * as TokenConfig from "@latchkey/core/TokenConfig"
import type { TokenError } from "@latchkey/core/TokenError"
import * as TokenManager from "@latchkey/core/TokenManager"
import { RefreshLease } from "@latchkey/core/RefreshLease"
import { TokenRefresher } from "@latchkey/core/TokenRefresher"
import { TokenStorage } from "@latchkey/core/TokenStorage"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { inspect } from "node:util"
import { AuthServer } from "./AuthServer.js"
import { type Broken, type Ending, Judge, type Loss } from "./Judge.js"
import { observed } from "./Observer.js"
import type { Ask, Deed, Plan, Round } from "./Plan.js"
import { Steps } from "./Steps.js"
import { Store } from "./Store.js"
import { letGo, Process, World } from "./World.js"

export interface Outcome {
  readonly broken: ReadonlyArray<Broken>
  readonly steps: number
  readonly requests: number
  readonly crashes: number
  readonly mishaps: number
  readonly asked: number
  /** What was lost in the end. */
  readonly loss: Loss | undefined
}

const minute = 60_000

/** How long after the last deed everything that was begun has ended. */
const patience = 15 * minute

/** A process and its manager; none while it starts. */
interface Life {
  readonly process: Process
  readonly scope: Scope.CloseableScope
  manager: TokenManager.Manager | undefined
}

interface Caller {
  readonly process: Process
  readonly what: string
  done: boolean
  interrupted: boolean
}

export const run = (plan: Plan, tell?: (text: string) => void): Outcome => {
  try {
    return new History(plan, tell).run()
  } finally {
    letGo()
  }
}

class History {
  private readonly world: World
  private readonly judge: Judge
  private readonly steps: Steps
  private readonly store: Store
  private readonly server: AuthServer
  private readonly lives: Array<Life> = []
  private readonly callers: Array<Caller> = []
  private incarnations = 0
  /** What the last caller of each slot was told. */
  private readonly endings: Array<Ending> = []

  constructor(
    private readonly plan: Plan,
    tell: ((text: string) => void) | undefined
  ) {
    const { setting } = plan
    const said =
      tell && ((text: string) => tell(`${(this.world.now / 1000).toFixed(3).padStart(12)} s  ${text}`))
    this.world = new World(plan.seed, setting.offsets, said, () =>
      this.judge.breaks("loop", "something goes on and on without time passing")
    )
    this.judge = new Judge(this.world, plan, () => ({
      server: this.server,
      store: this.store,
      steps: this.steps
    }))
    this.steps = new Steps(this.world, plan, (process, on) => this.judge.worksOn(process, on))
    this.store = new Store(this.world, this.steps, this.judge, {
      changes: setting.changes,
      fencesGranted: setting.fencesGranted,
      delay: setting.latency.storage
    })
    this.server = new AuthServer(this.world, this.steps, this.judge, setting)
  }

  run(): Outcome {
    this.plan.setting.machines.forEach((_, slot) => this.begin(slot))
    this.login(0)
    this.world.runUntil(1000)
    for (const round of this.plan.rounds) this.play(round)
    this.replaceTheDead()
    this.world.runUntil(this.world.now + patience)
    this.reckon()
    const crashes = this.incarnations - this.lives.length
    return {
      broken: this.judge.broken,
      steps: this.steps.taken,
      requests: this.server.sent,
      crashes,
      mishaps: this.steps.mishaps,
      asked: this.callers.length,
      loss: this.judge.loss()
    }
  }

  private begin(slot: number): void {
    const { machines } = this.plan.setting
    const process = new Process(this.world, slot, machines[slot]!, `p${slot}.${++this.incarnations}`)
    const scope = Effect.runSync(Scope.make())
    const life: Life = { process, scope, manager: undefined }
    this.lives[slot] = life
    const services = Context.empty().pipe(
      Context.add(TokenStorage, this.store.storage(process)),
      Context.add(RefreshLease, this.store.leases(process)),
      Context.add(TokenRefresher, this.server.refresher(process)),
      Context.add(TokenConfig.TokenConfig, this.config(process)),
      Context.add(Scope.Scope, scope)
    )
    const start = Effect.gen(this, function* () {
      const manager = yield* TokenManager.make({ account: "grant" })
      life.manager = manager
      yield* Effect.forkScoped(
        Stream.runForEach(manager.events, (event) =>
          Effect.sync(() => this.judge.scan(`the event ${event._tag}`, JSON.stringify(event)))
        )
      )
    })
    process.fork(observed(this.judge, process, Effect.provide(start, services)))
  }

  private config(process: Process): Context.Tag.Service<TokenConfig.TokenConfig> {
    return Either.getOrThrow(TokenConfig.make({ ...this.plan.setting.config, instance: process.name }))
  }

  /** The life in a slot; a new process where the last one ended long enough ago. */
  private life(slot: number): Life {
    return this.lives[slot]!
  }

  private replaceLater(slot: number): void {
    const gone = this.lives[slot]
    this.world.after(this.plan.setting.downtime, () => {
      if (this.lives[slot] === gone) this.begin(slot)
    })
  }

  private play({ deeds, from, offset }: Round): void {
    if (deeds.length === 0) return
    const { config, lifetime } = this.plan.setting
    const expiry = this.server.newestExpiry
    const grace = Math.min(config.refreshGrace, lifetime / 2)
    const base = from === "now" ? this.world.now : from === "due" ? expiry - grace : expiry
    const moment = Math.max(this.world.now, base + offset)
    for (const { after, deed } of deeds) {
      this.world.after(moment + after - this.world.now, () => this.perform(deed))
    }
    this.world.runUntil(moment + Math.max(...deeds.map(({ after }) => after)))
    this.replaceTheDead()
  }

  /** Also who crashed at a step of its own. */
  private replaceTheDead(): void {
    this.lives.forEach(({ process }, slot) => process.alive || this.replaceLater(slot))
  }

  private perform(deed: Deed): void {
    switch (deed.is) {
      case "ask":
        return this.ask(this.life(deed.slot), deed.ask, deed.interruptAfter)
      case "kill":
        this.life(deed.slot).process.crash()
        return this.replaceLater(deed.slot)
      case "close":
        return this.close(deed.slot)
      case "freeze":
        return this.life(deed.slot).process.freeze(deed.millis)
      case "jump":
        this.world.tell?.(`the clock of machine ${deed.machine} jumps ${deed.millis} ms`)
        this.world.machines[deed.machine]! += deed.millis
        return
      case "revoke": {
        const token = this.store.refreshToken
        if (token !== undefined) this.server.revoke(token)
        this.judge.revoked = true
        return
      }
      case "clear":
        return this.clear(deed.slot)
      case "login":
        return this.login(deed.slot)
    }
  }

  /** Forks an effect of a caller, who must come to an end. */
  private call<A, E>(
    process: Process,
    what: string,
    effect: Effect.Effect<A, E>,
    onExit: (exit: Exit.Exit<A, E>) => void,
    interruptAfter?: number
  ): void {
    const caller: Caller = { process, what, done: false, interrupted: false }
    this.callers.push(caller)
    this.world.tell?.(`${process.name}: ${what}`)
    const fiber = process.fork(observed(this.judge, process, effect))
    fiber.addObserver((exit) => {
      caller.done = true
      this.told(caller, exit)
      onExit(exit)
    })
    if (interruptAfter === undefined) return
    this.world.after(interruptAfter, () =>
      process.deliver(() => {
        if (caller.done) return
        caller.interrupted = true
        fiber.unsafeInterruptAsFork(FiberId.none)
      })
    )
  }

  /** What every caller may see, whatever it asked. */
  private told(caller: Caller, exit: Exit.Exit<unknown, unknown>): void {
    const { process, what } = caller
    if (Exit.isSuccess(exit)) {
      this.world.tell?.(`${process.name}: ${what} answers ${shown(exit.value)}`)
      return
    }
    const { cause } = exit
    if (Cause.isInterruptedOnly(cause)) {
      if (!caller.interrupted) this.judge.breaks("interrupted", `${what} of ${process.name} was interrupted`)
      return
    }
    const error = Cause.failureOption(cause)
    if (Option.isNone(error))
      return this.judge.breaks("defect", `${what} of ${process.name}: ${Cause.pretty(cause)}`)
    this.world.tell?.(`${process.name}: ${what} fails: ${String(error.value)}`)
    for (const text of [
      String(error.value),
      JSON.stringify(error.value),
      inspect(error.value),
      Cause.pretty(cause)
    ]) {
      this.judge.scan(`an error of ${what}`, text)
    }
  }

  private ask({ manager, process }: Life, ask: Ask, interruptAfter?: number): void {
    if (manager === undefined || !process.alive) return
    const notes = this.judge.of(process)
    const held = notes.served
    const askedAt = this.world.now
    const had = Option.getOrUndefined(Option.map(manager.unsafePeek(), Redacted.value))
    const observe = (effect: Effect.Effect<unknown, unknown>) =>
      this.call(process, ask.is, effect, () => undefined, interruptAfter)
    switch (ask.is) {
      case "explain":
        return observe(Effect.map(manager.explain, ({ text }) => this.judge.scan("what explain says", text)))
      case "peek":
        return observe(manager.peekAccessToken)
      case "status":
        return observe(
          Effect.map(manager.status, (status) => this.judge.scan("the status", JSON.stringify(status)))
        )
      case "invalidate":
        notes.served = undefined
        return observe(manager.invalidate)
    }
    const rejects = ask.is === "reject" ? held : undefined
    const effect: Effect.Effect<Redacted.Redacted, TokenError> =
      ask.is === "refresh"
        ? manager.refresh
        : ask.is === "for"
          ? manager.getAccessTokenFor({ minValidity: ask.minValidity })
          : rejects !== undefined
            ? manager.reject(Redacted.make(rejects))
            : manager.getAccessToken
    const not = new Set(notes.rejected)
    if (ask.is === "refresh" && had !== undefined) not.add(had)
    if (rejects !== undefined) not.add(rejects)
    if (rejects !== undefined) notes.refused.add(rejects)
    const insists = ask.is === "refresh" || ask.is === "for" || rejects !== undefined
    const forces = ask.is === "refresh"
    if (ask.is === "get" && interruptAfter === undefined) this.judge.asks(process)
    if (insists) notes.insistent++
    if (forces) notes.forcing++
    this.call(
      process,
      ask.is === "for" ? `for ${ask.minValidity} ms` : ask.is,
      effect,
      (exit) => {
        if (rejects !== undefined && !Exit.isInterrupted(exit)) notes.rejected.add(rejects)
        if (insists) {
          notes.insistent--
          notes.insistedAt = this.world.now
        }
        // Who was interrupted may have left behind what it began.
        if (forces && !Exit.isInterrupted(exit)) notes.forcing--
        if (Exit.isSuccess(exit)) {
          const minValidity = ask.is === "for" ? ask.minValidity : 0
          this.judge.serves(process, Redacted.value(exit.value), { minValidity, not })
        } else this.refused(process, { is: ask.is, at: askedAt, held }, exit.cause)
      },
      interruptAfter
    )
  }

  private refused(
    process: Process,
    asked: { readonly is: string; readonly at: number; readonly held: string | undefined },
    cause: Cause.Cause<TokenError>
  ): void {
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    if (error === undefined || this.judge.of(process).closingAt < Infinity) return
    if (error._tag === "ReauthorizationRequired") this.judge.sendsToLogin(process, error.reason, asked.at)
    this.judge.withholds(process, asked.is, error.reason, asked.held)
  }

  private close(slot: number): void {
    const { process, scope } = this.life(slot)
    if (!process.alive || this.judge.of(process).closingAt < Infinity) return
    this.judge.of(process).closingAt = this.world.now
    this.call(process, "close", Scope.close(scope, Exit.void), () => {
      this.steps.closed.add(process)
      if (this.lives[slot]?.process === process) this.replaceLater(slot)
    })
  }

  private login(slot: number): void {
    const { manager, process } = this.life(slot)
    if (!process.alive) return
    const credentials = this.server.login(process.unsafeCurrentTimeMillis())
    const notes = this.judge.of(process)
    notes.served = undefined
    notes.logins.add(Redacted.value(Option.getOrThrow(credentials.refreshToken)))
    // At the very beginning the process is only starting.
    const save = Effect.suspend(() => (manager ?? this.life(slot).manager!).save(credentials))
    notes.byUser++
    this.call(process, "save", save, () => {
      notes.byUser--
      notes.savedAt = this.world.now
      notes.coolingUntil = 0
    })
  }

  private clear(slot: number): void {
    const { manager, process } = this.life(slot)
    if (manager === undefined || !process.alive) return
    const notes = this.judge.of(process)
    notes.served = undefined
    notes.clearing++
    notes.byUser++
    this.call(process, "clear", manager.clear, () => notes.byUser--)
  }

  /** All is well again: whoever asks gets a token, or is told what was lost. */
  private reckon(): void {
    const { world } = this
    world.tell?.("--- nothing goes wrong from now on")
    this.steps.fair = true
    this.lives.forEach(({ process }, slot) => {
      process.thaw()
      if (!process.alive || this.steps.closed.has(process)) this.begin(slot)
    })
    world.runUntil(world.now + patience)
    this.expectNobodyWaits()
    world.runUntil(Math.max(world.now, this.server.newestExpiry) + 1000)
    this.lives.forEach(({ manager, process }, slot) => {
      this.call(process, "last get", this.lastGet(manager!), (exit) => {
        if (Exit.isSuccess(exit)) this.endings[slot] = exit.value
      })
    })
    world.runUntil(world.now + 180 * minute)
    this.lives.forEach(({ process }, slot) => this.judge.ends(process, this.endings[slot]))
    this.lives.forEach((_, slot) => this.close(slot))
    world.runUntil(world.now + patience)
    this.expectNobodyWaits()
  }

  private expectNobodyWaits(): void {
    for (const { done, process, what } of this.callers) {
      if (!done && process.alive) this.judge.breaks("hang", `${what} of ${process.name} does not end`)
    }
  }

  /** As a user would who is not in a hurry; a token that the server does not take is rejected. */
  private lastGet(manager: TokenManager.Manager): Effect.Effect<Ending> {
    const attempt = (
      left: number,
      ask: Effect.Effect<Redacted.Redacted, TokenError>
    ): Effect.Effect<Ending> =>
      Effect.matchEffect(ask, {
        onSuccess: (token) =>
          this.accepts(Redacted.value(token))
            ? Effect.succeed({ token: Redacted.value(token) })
            : left === 0
              ? Effect.succeed({ error: "a token that the server does not accept" })
              : attempt(left - 1, manager.reject(token)),
        onFailure: (error) =>
          error._tag === "ReauthorizationRequired" || left === 0
            ? Effect.succeed({ error: error.reason })
            : Effect.delay(attempt(left - 1, manager.getAccessToken), "30 seconds")
      })
    return attempt(40, manager.getAccessToken)
  }

  private accepts(token: string): boolean {
    return this.server.grants.accepted(token, this.world.now) !== undefined
  }
}

const shown = (value: unknown): string =>
  Redacted.isRedacted(value)
    ? String(Redacted.value(value))
    : value === undefined
      ? ""
      : JSON.stringify(value)
