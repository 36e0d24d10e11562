/**
 * The generators of the properties. The seed is fixed, so that every run is the same. LATCHKEY_SEED changes
 * it.
 */
import { FastCheck as FC, Option } from "effect"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import type { Fingerprint } from "@latchkey/core/Fingerprint"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import { type Decision, Expiry } from "@latchkey/core/internal-api"
import * as RotationPolicy from "@latchkey/core/RotationPolicy"

const seed = Number(process.env["LATCHKEY_SEED"] ?? 20_260_801)

const share = Number(process.env["LATCHKEY_RUNS"] ?? 1)

/**
 * How often a property is tried, or the share of it that LATCHKEY_RUNS names. A failure prints its seed and the
 * smallest counterexample.
 */
export const runs = (numRuns: number) => ({ fastCheck: { seed, numRuns: Math.ceil(numRuns * share) } })

/** Tokens that a server may send (RFC 6749, appendix A.12). */
export const token: FC.Arbitrary<string> = FC.string({
  unit: FC.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 60
}).filter((text) => Option.isNone(Credentials.tokenProblem(text)))

/** Numbers that no clock or server should give, and do. */
export const absurd: FC.Arbitrary<number> = FC.oneof(
  FC.constantFrom(0, -0, -1, 1, 1e15, 8.64e15, 2 ** 53, 1e308, -1e308, Infinity, -Infinity, Number.MIN_VALUE),
  FC.constant(Number.NaN),
  FC.double(),
  FC.integer({ min: -1_000_000, max: 1_000_000 })
)

/** Instants of a working clock, whole milliseconds. */
export const instant: FC.Arbitrary<number> = FC.integer({
  min: 1_600_000_000_000,
  max: 1_600_000_000_000 + 100_000_000
})

/** Credentials that storage takes. */
export const credentials: FC.Arbitrary<Credentials.Credentials> = FC.record(
  {
    accessToken: token,
    refreshToken: token,
    idToken: token,
    tokenType: FC.constantFrom("Bearer", "bearer", "DPoP"),
    obtainedAt: instant,
    expiresAt: instant,
    scopes: FC.array(FC.string()),
    accountId: FC.string({ minLength: 1 }),
    extras: FC.dictionary(FC.string(), FC.jsonValue())
  },
  { requiredKeys: ["accessToken"] }
).map(Credentials.make)

const fingerprint = FC.string({
  unit: FC.constantFrom(..."0123456789abcdef"),
  minLength: 12,
  maxLength: 12
}).map((hex) => hex as Fingerprint)

const option = <A>(arbitrary: FC.Arbitrary<A>): FC.Arbitrary<Option.Option<A>> =>
  FC.option(arbitrary).map(Option.fromNullable)

/** Identities of few names, so that two of them are often alike. */
export const identity: FC.Arbitrary<GrantIdentity.GrantIdentity> = FC.record(
  {
    issuer: FC.constantFrom("https://a.example", "https://a.example/", "https://b.example/realms/x", "own"),
    tokenEndpoint: FC.constantFrom("https://a.example/token", "https://b.example/realms/x/token", "ftp:x y"),
    clientId: FC.constantFrom("app", "other", "größer\u202e"),
    grantType: FC.constantFrom("refresh_token", "client_credentials"),
    subject: FC.constantFrom("ada", "bob")
  },
  { requiredKeys: [] }
).map(GrantIdentity.make)

/** Entries that storage takes. */
export const entry: FC.Arbitrary<Entry.Entry> = FC.record({
  credentials,
  family: FC.string({ minLength: 1 }),
  generation: FC.nat(),
  fence: FC.nat(),
  intent: option(
    FC.record({ fingerprint, at: instant, attempt: FC.nat() }).map((fields) => new Entry.Intent(fields))
  ),
  dead: option(
    FC.record({ fingerprint, at: instant, reason: FC.string(), rotationLost: FC.boolean() }).map(
      (fields) => new Entry.DeadGrant(fields)
    )
  ),
  serverWait: option(
    FC.record({ at: instant, until: instant }).map((fields) => new Entry.ServerWait(fields))
  ),
  identity: option(identity)
}).map((fields) => new Entry.Entry(fields))

const span = FC.constantFrom(0, 1, 500, 1000, 30_000, 120_000, 3_600_000, 86_400_000)

/** Policies that `TokenConfig` lets pass. */
export const policy: FC.Arbitrary<Decision.Policy> = FC.record({
  credentialsTtl: span,
  grace: span,
  mode: FC.constantFrom("wait" as const, "background" as const),
  jitter: FC.constantFrom(0, 0.25, 0.5, 1),
  coolDownBase: span,
  coolDownMax: span
})

const mismatch = new GrantIdentity.Mismatch({ difference: "Client", stored: "app", current: "other" })

/** What a process may know of the age of a token. */
const witness: FC.Arbitrary<Expiry.Witness> = FC.record({
  ahead: option(
    FC.oneof(FC.integer({ min: -100_000_000, max: 100_000_000 }), FC.constantFrom(0, 1000, -1000))
  ),
  heldSince: instant,
  isOwn: FC.boolean(),
  absentAt: FC.oneof(instant, FC.constant(-Infinity)),
  setBack: FC.oneof(FC.constant(0), FC.nat({ max: 100_000_000 }))
})

/** What a manager may hold, with credentials and cool-downs whose times are drawn from `times`. */
export const held = (times: FC.Arbitrary<number>): FC.Arbitrary<Decision.Held> =>
  FC.record({
    credentials: option(
      FC.record({ expiresAt: option(times), obtainedAt: option(times), serverTime: option(times) }).map(
        (instants) => new Credentials.Credentials({ ...Credentials.make({ accessToken: "at" }), ...instants })
      )
    ),
    loadedAt: FC.oneof({ weight: 9, arbitrary: instant }, { weight: 1, arbitrary: FC.constant(-Infinity) }),
    refreshable: FC.boolean(),
    mismatch: FC.oneof(
      { weight: 19, arbitrary: FC.constant(Option.none()) },
      { weight: 1, arbitrary: FC.constant(Option.some(mismatch)) }
    ),
    dead: FC.option(
      FC.record({
        fingerprint,
        at: instant,
        reason: FC.constant("invalid_grant"),
        rotationLost: FC.boolean()
      }).map((fields) => new Entry.DeadGrant(fields)),
      { freq: 3 }
    ).map(Option.fromNullable),
    rejected: FC.boolean(),
    coolDown: option(
      FC.record({
        since: instant,
        until: instant,
        askedUntil: option(instant),
        reason: FC.constantFrom("Failed" as const, "ServerAsked" as const, "Ineffective" as const),
        failures: FC.integer({ min: 1, max: 2000 })
      })
    ),
    serverWait: FC.option(
      FC.record({ at: instant, until: instant }).map((fields) => new Entry.ServerWait(fields)),
      { freq: 3 }
    ).map(Option.fromNullable),
    openIntent: FC.option(
      FC.record({
        fingerprint,
        at: FC.oneof({ weight: 5, arbitrary: instant }, { weight: 1, arbitrary: absurd }),
        attempt: FC.nat()
      }).map((fields) => new Entry.Intent(fields)),
      { freq: 3 }
    ).map(Option.fromNullable),
    rotation: FC.oneof(FC.constant(RotationPolicy.reusable), span.map(RotationPolicy.rotating)),
    serverAhead: FC.oneof(
      { weight: 3, arbitrary: FC.constant(0) },
      { weight: 2, arbitrary: span },
      { weight: 1, arbitrary: absurd }
    ),
    jitterShare: FC.constantFrom(0, 0.25, 0.5, 0.75),
    witness: FC.oneof(
      { weight: 1, arbitrary: FC.constant(Expiry.noWitness) },
      { weight: 2, arbitrary: witness }
    )
  })

export const request: FC.Arbitrary<Decision.Request> = FC.record({
  force: FC.boolean(),
  minValidity: FC.oneof(span, absurd)
})
