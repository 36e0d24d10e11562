/**
 * Replays recorded results of the system that this library replaces: traces through the real manager over a
 * memory storage and a test clock, and previews through the masking functions.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import * as AuthStatus from "@latchkey/core/AuthStatus"
import * as Credentials from "@latchkey/core/Credentials"
import * as Decision from "@latchkey/core/Decision"
import * as Entry from "@latchkey/core/Entry"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import * as Snapshot from "@latchkey/core/Snapshot"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as TokenStorage from "@latchkey/core/TokenStorage"
import { ScriptedRefresher } from "@latchkey/core/testing"
import {
  maskings,
  traces,
  type Masking,
  type RecordedCredentials,
  type Step,
  type Trace,
  type Unreadable
} from "./Vectors.js"
import * as Edition from "../support/Edition.js"

/** A place where we answer otherwise than was recorded. */
interface Mismatch {
  readonly step?: number
  readonly op: string
  readonly expected: unknown
  readonly actual: unknown
}

const toCredentials = (recorded: typeof RecordedCredentials.Type): Credentials.Credentials =>
  Credentials.make({
    accessToken: recorded.accessToken,
    refreshToken: recorded.refreshToken ?? undefined,
    expiresAt: recorded.expiresAtMs ?? undefined,
    accountId: recorded.accountId ?? undefined
  })

/**
 * The k-th response of the recorded refresher. It does not say when the token was obtained, because the
 * original does not know it: there the grace is not clamped to a lifetime.
 */
const recordedRefresher = ScriptedRefresher.layer((call) => ({
  answer: ({ now }) =>
    toCredentials({
      accessToken: `at-${1000 + call}`,
      refreshToken: `rt-${1000 + call}`,
      accountId: "acct-1",
      expiresAtMs: now + 600_000
    })
}))

const orNull = <A, B>(option: Option.Option<A>, f: (a: A) => B): B | null =>
  Option.getOrNull(Option.map(option, f))

const present = (fields: Record<string, Option.Option<unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => (Option.isSome(value) ? [[name, value.value]] : []))
  )

const perform = (
  step: Step,
  manager: TokenManager.Manager,
  storage: typeof TokenStorage.TokenStorage.Service,
  graceMillis: number
) =>
  Effect.gen(function* () {
    switch (step.op) {
      case "advance": {
        // Set, not adjusted: a negative one sets the clock back.
        const now = yield* Clock.currentTimeMillis
        yield* TestClock.setTime(now + step.arg)
        return null
      }
      case "save":
        // The original replaces what is there, whoever its account is.
        yield* manager.save(toCredentials(step.arg), { replace: true })
        return true
      case "externalWrite": {
        const loaded = yield* storage.load
        const entry = Entry.saved(
          Option.map(loaded, (l) => l.entry),
          toCredentials(step.arg)
        )
        yield* storage.commit(
          entry,
          Option.map(loaded, (l) => l.version)
        )
        return null
      }
      case "externalDelete":
        yield* storage.remove
        return null
      case "clear":
        return yield* manager.clear
      case "clearCache":
        yield* manager.invalidate
        return null
      case "peekAccessToken":
        return orNull(yield* manager.peekAccessToken, Redacted.value)
      case "getAccessToken":
        return yield* manager.getAccessToken.pipe(
          Effect.map(Redacted.value),
          Effect.catchTag("ReauthorizationRequired", () => Effect.succeed(null))
        )
      case "shouldRefresh": {
        const credentials = yield* manager.credentials
        const now = yield* Clock.currentTimeMillis
        return orNull(credentials, (c) =>
          Decision.shouldRefresh(
            c,
            now,
            step.arg === undefined || step.arg === null
              ? Decision.clampedGrace(c, graceMillis)
              : step.arg * 1000
          )
        )
      }
      case "authStatus": {
        const status = yield* manager.status
        return {
          authenticated: status.authenticated,
          ...present({
            reason: Option.map(status.reason, AuthStatus.describe),
            expiresAtMs: status.expiresAt,
            expiresInSeconds: status.expiresInSeconds,
            accountId: status.accountId
          })
        }
      }
      case "isAuthenticated":
        return yield* manager.isAuthenticated
      case "validateToken":
        return yield* manager.validate
      case "secondsUntilExpiration": {
        const credentials = yield* manager.credentials
        const now = yield* Clock.currentTimeMillis
        return orNull(
          Option.flatMap(credentials, (c) => Decision.timeToExpiry(c, now)),
          (left) => left / 1000
        )
      }
      case "snapshot": {
        const snapshot = yield* manager.snapshot
        const now = yield* Clock.currentTimeMillis
        return orNull(snapshot, (s) => ({
          accountId: Option.getOrNull(s.accountId),
          accessToken: orNull(s.accessToken, Redacted.value),
          refreshToken: orNull(s.refreshToken, Redacted.value),
          expiresAtMs: Option.getOrNull(s.expiresAt),
          expiresInSeconds: Option.getOrNull(Snapshot.expiresInSeconds(s, now)),
          accessTokenPreview: Option.getOrNull(Snapshot.accessTokenPreview(s)),
          refreshTokenPreview: Option.getOrNull(Snapshot.refreshTokenPreview(s))
        }))
      }
    }
  })

/** JSON values, compared whatever the order of their keys. */
const sameJson = (a: unknown, b: unknown): boolean => {
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((x, i) => sameJson(x, b[i]))
  }
  if (typeof a === "object" && a !== null && typeof b === "object" && b !== null) {
    const keys = Object.keys(a)
    return (
      keys.length === Object.keys(b).length &&
      keys.every((k) => Object.hasOwn(b, k) && sameJson(Reflect.get(a, k), Reflect.get(b, k)))
    )
  }
  return Equal.equals(a, b)
}

/** Replays one trace; where it went otherwise. */
const replayTrace = (trace: Trace): Effect.Effect<ReadonlyArray<Mismatch>> =>
  Effect.gen(function* () {
    yield* TestClock.setTime(trace.startMs)
    const manager = yield* TokenManager.make({ watch: false })
    const storage = yield* TokenStorage.TokenStorage
    const calls = yield* ScriptedRefresher.RefreshCalls
    const mismatches: Array<Mismatch> = []
    for (const [index, step] of trace.trace.entries()) {
      const actual = yield* Effect.catchAll(
        perform(step, manager, storage, trace.refreshGraceSeconds * 1000),
        (e) => Effect.succeed({ failedWith: e._tag })
      )
      const refreshes = yield* calls.count
      if (!sameJson(actual, step.result) || refreshes !== step.refreshes) {
        mismatches.push({
          step: index,
          op: step.op,
          expected: { result: step.result, refreshes: step.refreshes },
          actual: { result: actual, refreshes }
        })
      }
    }
    return mismatches
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Layer.mergeAll(
        TokenStorage.layerMemory,
        RefreshLease.layerProcess,
        recordedRefresher,
        TokenConfig.layer({
          credentialsTtl: trace.credentialsTtlSeconds * 1000,
          refreshGrace: trace.refreshGraceSeconds * 1000
        })
      )
    ),
    // The policy was checked as it was read.
    Effect.orDie,
    Effect.provide(Edition.testServices)
  )

/** Replays one masking; where it went otherwise. */
const replayMasking = (masking: Masking): ReadonlyArray<Mismatch> => {
  const token = Option.map(Option.fromNullable(masking.token), Redacted.make)
  const snapshot = new Snapshot.Snapshot({
    provider: "recorded",
    accountId: Option.none(),
    accessToken: token,
    refreshToken: token,
    expiresAt: Option.none(),
    scopes: [],
    extras: {}
  })
  const actual = {
    access: Option.getOrNull(Snapshot.accessTokenPreview(snapshot, masking.visible)),
    refresh: Option.getOrNull(Snapshot.refreshTokenPreview(snapshot, masking.visible)),
    access_default: Option.getOrNull(Snapshot.accessTokenPreview(snapshot)),
    refresh_default: Option.getOrNull(Snapshot.refreshTokenPreview(snapshot)),
    has: Snapshot.hasAccessToken(snapshot),
    hasRefresh: Snapshot.hasRefreshToken(snapshot)
  }
  const expected = { ...masking, hasRefresh: masking.has }
  return (["access", "refresh", "access_default", "refresh_default", "has", "hasRefresh"] as const).flatMap(
    (op) => (actual[op] === expected[op] ? [] : [{ op, expected: expected[op], actual: actual[op] }])
  )
}

/** What came of a set of files: where a mismatch is, by its line in a `.jsonl` or its case in a `.json`, from 1. */
export interface Report {
  traces: number
  steps: number
  masks: number
  readonly mismatches: Array<
    Mismatch & { readonly file: string; readonly line?: number; readonly case?: number }
  >
}

/** Adds the replay of one file's text: traces, one a line, in a `.jsonl`; maskings in a `.json`. */
export const replayText = (report: Report, file: string, text: string): Effect.Effect<void, Unreadable> =>
  Effect.gen(function* () {
    if (!file.endsWith(".jsonl")) {
      for (const [index, masking] of (yield* maskings(file, text)).entries()) {
        report.masks++
        for (const mismatch of replayMasking(masking))
          report.mismatches.push({ file, case: index + 1, ...mismatch })
      }
      return
    }
    for (const [line, trace] of yield* traces(file, text)) {
      report.traces++
      report.steps += trace.trace.length
      for (const mismatch of yield* replayTrace(trace)) report.mismatches.push({ file, line, ...mismatch })
    }
  })
