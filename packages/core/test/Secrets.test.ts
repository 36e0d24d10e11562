import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Option, TestClock } from "effect"
import { Credentials, Entry, RefreshLease, type TokenStorage } from "@latchkey/core"
import { bench, minute, peerWrites, start } from "./support/Bench.js"
import { everything, secretGrant, worlds } from "./support/Everything.js"
import { observed, shown } from "./support/Observed.js"

/** A hundred secrets, each like no other text. */
const canaries = Array.from({ length: 100 }, (_, i) => `canary${String(i).padStart(3, "0")}x7Q`)
let next = 0
const canary = (): string => canaries[next++ % canaries.length]!

const findings = (text: string): ReadonlyArray<string> => canaries.filter((c) => text.includes(c))

describe("no secret is seen", () => {
  for (const [name, setup] of Object.entries(worlds(canary))) {
    it.scoped(`in logs, spans, metrics, errors, inspect and JSON: ${name}`, () =>
      Effect.gen(function* () {
        const { exit, lines, spans, text } = yield* observed(
          Effect.gen(function* () {
            const { manager } = yield* bench({ ...setup, initial: secretGrant(canary, 10 * minute) })
            return yield* everything(manager, secretGrant(canary, minute))
          })
        )
        expect(Exit.isSuccess(exit)).toBe(true)
        expect(lines).toBeGreaterThan(5)
        expect(spans).toBeGreaterThan(0)
        expect(findings(text)).toEqual([])
      })
    )
  }

  it.scoped("when storage went back in time", () =>
    Effect.gen(function* () {
      const { text } = yield* observed(
        Effect.gen(function* () {
          const { manager, storage } = yield* bench({
            initial: secretGrant(canary, 10 * minute),
            script: () => ({ answer: ({ now }) => secretGrant(canary, 10 * minute, now) })
          })
          const backup = Option.getOrThrow(yield* storage.load).entry
          yield* manager.refresh
          yield* peerWrites(storage, () => backup)
          yield* TestClock.adjust(20 * minute)
          return yield* Effect.flip(manager.getAccessToken)
        })
      )
      expect(text).toContain("RolledBack")
      expect(findings(text)).toEqual([])
    })
  )

  it("in the records themselves, nor in the reasons for refusing one", () => {
    const credentials = secretGrant(canary, minute)
    const entry = Entry.first(credentials)
    const json = { ...Entry.toJson(entry), accessToken: 5, refreshToken: canary(), intent: canary() }
    const refused = Entry.fromJson(json, start)
    const response = Credentials.fromResponse(
      { access_token: `${canary()}\n`, refresh_token: canary(), expires_in: canary(), token_type: canary() },
      Option.some(credentials),
      { requestedAt: start }
    )
    const versioned: TokenStorage.Versioned = { entry, version: "1" as TokenStorage.Version }
    const text = [credentials, entry, refused, response, versioned, RefreshLease.layerProcess]
      .map(shown)
      .join("\n")
    expect(text).toContain("Malformed")
    expect(findings(text)).toEqual([])
  })

  it("and a secret that is shown would be found", () => {
    expect(findings(shown({ deep: [{ token: canaries[3] }] }))).toEqual([canaries[3]])
    expect(findings(shown(Exit.fail(new Error(canaries[5]))))).toEqual([canaries[5]])
  })
})
