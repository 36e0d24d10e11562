/**
 * Sample entries for a storage: a plain one, one with every field, and arbitrary ones. None holds a real
 * token.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"

/**
 * Creates a first entry whose tokens end in `name`.
 *
 * @since 0.1.0
 * @category samples
 */
export const plain = (name: string): Entry.Entry =>
  Entry.first(
    Credentials.make({
      accessToken: `access-${name}`,
      refreshToken: `refresh-${name}`,
      obtainedAt: 1_800_000_000_000,
      expiresAt: 1_800_003_600_000,
      scopes: ["read"]
    })
  )

/**
 * An entry with every field set.
 *
 * @since 0.1.0
 * @category samples
 */
export const full: Entry.Entry = new Entry.Entry({
  credentials: Credentials.make({
    accessToken: "access-full ~!#",
    refreshToken: "refresh-full",
    idToken: "id-full",
    tokenType: "DPoP",
    obtainedAt: 1_800_000_000_000,
    expiresAt: 1_800_003_600_000,
    refreshAt: 1_800_003_000_000,
    scopes: ["read", "write:all"],
    accountId: "user@example.com",
    extras: { plan: "größer 🗝", nested: { list: [1, 2.5, true, null, "x"], empty: {} } }
  }),
  family: "0123456789ab",
  generation: 7,
  fence: 3,
  intent: Option.some(
    new Entry.Intent({
      fingerprint: Entry.grantFingerprint(Credentials.make({ accessToken: "a" })),
      at: 1_800_000_000_500,
      attempt: 2
    })
  ),
  dead: Option.some(
    new Entry.DeadGrant({
      fingerprint: Entry.grantFingerprint(Credentials.make({ accessToken: "b" })),
      at: 1_800_000_000_600,
      reason: 'invalid_grant: "expired"',
      rotationLost: true
    })
  ),
  serverWait: Option.some(new Entry.ServerWait({ at: 1_800_000_000_700, until: 1_800_000_060_700 })),
  identity: Option.some(
    GrantIdentity.make({
      issuer: "https://issuer.example/größer",
      tokenEndpoint: 'https://issuer.example/token?policy=a&b="c"',
      clientId: "client 🗝",
      grantType: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      subject: "user@example.com"
    })
  )
})

const token = FastCheck.stringMatching(/^[!-~]{1,40}$/).filter((t) =>
  Option.isNone(Credentials.tokenProblem(t))
)
const text = FastCheck.string({ unit: "grapheme", minLength: 1, maxLength: 12 })
const key = text.filter((k) => k !== "__proto__")
const instant = FastCheck.integer({ min: 1_000_000_000_000, max: 4_000_000_000_000 })
const option = <A>(arbitrary: FastCheck.Arbitrary<A>): FastCheck.Arbitrary<A | undefined> =>
  FastCheck.option(arbitrary, { nil: undefined })

const json: FastCheck.Arbitrary<unknown> = FastCheck.letrec<{ readonly value: unknown }>((tie) => ({
  value: FastCheck.oneof(
    { maxDepth: 3, withCrossShrink: true },
    FastCheck.oneof(text, FastCheck.boolean(), FastCheck.constant(null), FastCheck.integer()),
    FastCheck.array(tie("value"), { maxLength: 3 }),
    FastCheck.dictionary(key, tie("value"), { maxKeys: 3, noNullPrototype: true })
  )
})).value

/**
 * Arbitrary credentials.
 *
 * @since 0.1.0
 * @category arbitraries
 */
export const credentials: FastCheck.Arbitrary<Credentials.Credentials> = FastCheck.record({
  accessToken: token,
  refreshToken: option(token),
  idToken: option(token),
  tokenType: FastCheck.constantFrom("Bearer", "bearer", "DPoP"),
  obtainedAt: option(instant),
  expiresAt: option(instant),
  scopes: FastCheck.array(token, { maxLength: 3 }),
  accountId: option(text),
  extras: FastCheck.dictionary(key, json, { maxKeys: 3, noNullPrototype: true })
}).map(Credentials.make)

const note = FastCheck.record({
  fingerprint: token.map((t) => Entry.grantFingerprint(Credentials.make({ accessToken: t }))),
  at: instant
})

const identity = FastCheck.record({
  issuer: option(text),
  tokenEndpoint: option(text),
  clientId: option(text),
  grantType: option(text),
  subject: option(text)
}).map(GrantIdentity.make)

/**
 * Arbitrary entries with the given fences.
 *
 * @since 0.1.0
 * @category arbitraries
 */
export const entry = (fence: FastCheck.Arbitrary<number>): FastCheck.Arbitrary<Entry.Entry> =>
  FastCheck.record({
    credentials,
    generation: FastCheck.nat(1_000_000),
    fence,
    intent: option(FastCheck.tuple(note, FastCheck.nat(9))),
    dead: option(FastCheck.tuple(note, text, FastCheck.boolean())),
    serverWait: option(FastCheck.record({ at: instant, until: instant })),
    identity: option(identity)
  }).map(
    ({ credentials: c, generation, fence: f, intent, dead, serverWait, identity: i }) =>
      new Entry.Entry({
        ...Entry.first(c),
        generation,
        fence: f,
        intent: Option.map(
          Option.fromNullable(intent),
          ([n, attempt]) => new Entry.Intent({ ...n, attempt })
        ),
        dead: Option.map(
          Option.fromNullable(dead),
          ([n, reason, rotationLost]) => new Entry.DeadGrant({ ...n, reason, rotationLost })
        ),
        serverWait: Option.map(Option.fromNullable(serverWait), (w) => new Entry.ServerWait(w)),
        identity: Option.fromNullable(i)
      })
  )
