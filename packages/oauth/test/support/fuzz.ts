/**
 * Responses of status 200 with a usable refresh token and every possible error in the rest: the token is
 * saved in all cases (invariant 3).
 */
import { Entry, Fingerprint, RefreshLease } from "@latchkey/core"
import { Fault } from "@latchkey/oauth/testing"
import { Effect, Either, Option, Redacted } from "effect"
import { Draw, inWorld, manager, recordingStorage } from "./world.js"

export interface Fuzzed {
  readonly body: string
  /** What the refresh that got it said: `fine`, or the reason why not. */
  readonly said: string
  /** What went wrong: nothing, if the refresh token was saved and the grant lived on. */
  readonly broken: ReadonlyArray<string>
}

const junk = (draw: Draw): string =>
  draw.of<() => string>([
    () => "null",
    () => "true",
    () => "[]",
    () => "{}",
    () => "-1",
    () => "1e308",
    () => "1e999",
    () => "NaN",
    () => "3600.5",
    () => String(draw.upTo(4_000_000_000)),
    () => '""',
    () => '" "',
    () => '"undefined"',
    () => '"soon"',
    () => '"3600abc"',
    () => '"\\u0000\\r\\n"',
    () => '"\\ud800"',
    () => '"ünïcödé 🗝"',
    () => JSON.stringify("x".repeat(draw.upTo(5000))),
    () => "[".repeat(200) + "]".repeat(200),
    () => '{"refresh_token":"not this one","a":[{"refresh_token":"nor this"}]}',
    () => '"{\\"refresh_token\\":\\"nor this\\"}"'
  ])()

/** The same string, some of its characters as escapes. */
const escaped = (draw: Draw, text: string): string =>
  `"${[...text]
    .map((c) => (draw.chance(0.1) ? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}` : c))
    .join("")}"`

const names = ["access_token", "token_type", "expires_in", "scope"]
const more = [
  "error",
  "error_description",
  "account",
  "__proto__",
  "constructor",
  "toString",
  "",
  "x\\n\\u0022y"
]

/** A broken answer, and whether it ends as if it were whole. */
const spoil = (draw: Draw, honest: string): Fault.Reply => {
  const fields = JSON.parse(honest) as Record<string, unknown>
  const refreshToken = `"refresh_token":${draw.of(["", " ", "\n\t"])}${escaped(draw, String(fields["refresh_token"]))}`
  const rot = draw.of([0.02, 0.1, 0.3, 0.6])
  const others = [
    ...names.flatMap((name) => {
      const kept = `"${name}":${JSON.stringify(fields[name])}`
      return !draw.chance(rot) ? [kept] : draw.chance(0.5) ? [`"${name}":${junk(draw)}`] : []
    }),
    ...more.filter(() => draw.chance(rot / 4)).map((name) => `"${name}":${junk(draw)}`)
  ]
  const at = draw.upTo(others.length)
  const before = `${draw.of(["", "", "\ufeff", " \r\n"])}{${[...others.slice(0, at), refreshToken].join(",")}`
  const after = `${others
    .slice(at)
    .map((other) => `,${other}`)
    .join("")}}`
  const end = draw.of<() => string>([
    ...Array.from({ length: 8 }, () => () => after),
    () => after.slice(0, draw.upTo(after.length)),
    () => `${after}${draw.of(["garbage", "}", "{}", "\u0000", "<html>"])}`,
    () => after.replace(/[:,"]/, ""),
    () => after + " ".repeat(1024 * 1024)
  ])()
  const body = before + end
  return {
    status: draw.of([200, 200, 200, 201, 203]),
    headers: {
      "content-type": draw.of([
        "application/json",
        "application/json; charset=utf-8",
        "text/html",
        "text/plain"
      ]),
      ...(draw.chance(0.1) && {
        "retry-after": draw.of(["soon", "-1", "5", "Thu, 01 Jan 1970 00:00:00 GMT"])
      })
    },
    body,
    ...(draw.chance(rot / 4) && { breaksOffAt: before.length + draw.upTo(body.length - before.length) })
  }
}

export const fuzz = (seed: number): Effect.Effect<Fuzzed, unknown> =>
  inWorld({ seed }, (server) =>
    Effect.gen(function* () {
      const draw = new Draw(seed)
      const broken: Array<string> = []
      const expect = (holds: boolean, what: string) => void (holds || broken.push(what))
      const { storage } = yield* recordingStorage()
      const lease = yield* RefreshLease.makeProcess
      const of = yield* manager({ storage, lease, config: { coolDownBase: "1 second" } })
      yield* of.save(yield* server.issueGrant())

      let body = ""
      let granted = ""
      yield* server.plan([
        Fault.make("fuzzed", {
          answer: (honest) => {
            granted = (JSON.parse(honest.body) as { readonly refresh_token: string }).refresh_token
            const reply = spoil(draw, honest.body)
            body = reply.body
            return reply
          }
        })
      ])
      const said = yield* Effect.either(of.refresh)
      const { entry } = Option.getOrThrow(yield* storage.load)
      expect(
        Entry.grantFingerprint(entry.credentials) === Fingerprint.of(Redacted.make(granted)),
        "the new refresh token is not in storage"
      )
      expect(Option.isNone(entry.dead), "the grant was marked dead")
      yield* Effect.sleep("1 day")
      const later = yield* Effect.either(of.refresh)
      expect(Either.isRight(later), "the next refresh failed")
      const last = Option.getOrThrow(yield* storage.load).entry.credentials
      expect(yield* server.canRefresh(last), "the grant was lost")
      expect((yield* server.counts).reuses === 0, "a spent refresh token was sent")
      return { body, broken, said: Either.match(said, { onLeft: (e) => e.reason, onRight: () => "fine" }) }
    })
  )
