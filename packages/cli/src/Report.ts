/**
 * An account for display: one plain record for both the table and JSON. Pure.
 *
 * @since 0.1.0
 */
import * as AccountReport from "@latchkey/core/AccountReport"
import * as Decision from "@latchkey/core/Decision"
import type * as Entry from "@latchkey/core/Entry"
import { describeMismatch, type Mismatch } from "@latchkey/core/GrantIdentity"
import { Marks } from "@latchkey/core/internal-api"
import * as Snapshot from "@latchkey/core/Snapshot"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Account from "./Account.js"
import type { Failure } from "./Failure.js"
import * as Format from "./Format.js"
import * as Output from "./Output.js"
import * as Table from "./Table.js"

/**
 * - `valid`: the token can be used.
 * - `refreshable`: it has expired, or there is none yet, but a new one can be requested.
 * - `ending`: it can be used, but the server has ended the grant. Log in again before it expires.
 * - `expired`: there is nothing to refresh it with.
 * - `dead`: the server has ended the grant.
 * - `mismatch`: the grant belongs to another server, client or account, and is not used. See `problem`.
 * - `absent`: there is no grant.
 * - `unreadable`: the grant cannot be read. See `problem`.
 *
 * @since 0.1.0
 * @category models
 */
export type State =
  "valid" | "refreshable" | "ending" | "expired" | "dead" | "mismatch" | "absent" | "unreadable"

/**
 * One account. Instants are epoch milliseconds. The tokens are masked.
 *
 * @since 0.1.0
 * @category models
 */
export interface Row {
  readonly id: string
  readonly provider: string
  readonly account: string
  readonly state: State
  readonly expiresAt: number | null
  readonly expiresInSeconds: number | null
  readonly accountId: string | null
  readonly scopes: ReadonlyArray<string>
  readonly storage: string
  readonly encryption: Account.Encryption | null
  readonly accessToken: string | null
  readonly refreshToken: string | null
  /** When the account is due for renewal. Null if there is nothing to renew. */
  readonly nextRenewal: number | null
  readonly lastError: AccountReport.LastError | null
  /** Whether only a login helps, now or when the token that is still valid expires. */
  readonly mustLogIn: boolean
  readonly problem: string | null
}

/**
 * Whether the account works: it has a valid token, or can get one without a login.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isUsable = (state: State): boolean =>
  state === "valid" || state === "refreshable" || state === "ending"

const needLogin: ReadonlySet<State> = new Set(["ending", "expired", "dead", "absent"])

/**
 * Returns the state of what storage holds, for an account that needs a refresh token or not.
 *
 * @since 0.1.0
 * @category getters
 */
export const stateOf = (
  entry: Option.Option<Entry.Entry>,
  grant: Account.Account["grant"],
  now: number
): Exclude<State, "mismatch" | "unreadable"> => {
  if (Option.isNone(entry)) return grant === "client-credentials" ? "refreshable" : "absent"
  const { credentials } = entry.value
  const isDead = Option.isSome(Marks.deadMark(entry.value))
  if (!Decision.isExpired(credentials, now)) return isDead ? "ending" : "valid"
  if (isDead) return "dead"
  return grant === "client-credentials" || Option.isSome(credentials.refreshToken) ? "refreshable" : "expired"
}

/**
 * Returns the record of an account whose storage was read.
 *
 * @since 0.1.0
 * @category constructors
 */
export const row = (
  account: Account.Account,
  storage: string,
  entry: Option.Option<Entry.Entry>,
  now: number,
  mismatch: Option.Option<Mismatch> = Option.none()
): Row => {
  const credentials = Option.map(entry, (e) => e.credentials)
  const left = Option.flatMap(credentials, (c) => Decision.timeToExpiry(c, now))
  const report = Option.map(entry, (e) => AccountReport.of(Account.idOf(account), e, now))
  const state = Option.isSome(mismatch) ? "mismatch" : stateOf(entry, account.grant, now)
  return {
    ...blank(account, storage),
    state,
    nextRenewal: Option.getOrNull(Option.flatMap(report, (r) => r.dueAt)),
    lastError: Option.getOrNull(Option.flatMap(report, (r) => r.lastError)),
    mustLogIn: needLogin.has(state),
    problem: Option.getOrNull(Option.map(mismatch, (m) => `${describeMismatch(m)}.`)),
    // By this clock, although another one may have dated it.
    expiresAt: Option.getOrNull(Option.map(left, (millis) => now + millis)),
    expiresInSeconds: Option.getOrNull(Decision.wholeSeconds(left)),
    accountId: Option.getOrNull(Option.flatMap(credentials, (c) => c.accountId)),
    scopes: Option.match(credentials, { onNone: () => [], onSome: (c) => c.scopes }),
    accessToken: preview(Option.map(credentials, (c) => c.accessToken)),
    refreshToken: preview(Option.flatMap(credentials, (c) => c.refreshToken))
  }
}

/**
 * Returns the record of an account whose storage could not be read.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unreadable = (account: Account.Account, storage: string, failure: Failure): Row => ({
  ...blank(account, storage),
  problem: failure.message
})

const blank = (account: Account.Account, storage: string): Row => ({
  id: Account.idOf(account),
  provider: account.provider,
  account: account.name,
  state: "unreadable",
  expiresAt: null,
  expiresInSeconds: null,
  accountId: null,
  scopes: [],
  storage,
  encryption: account.home.kind === "store" ? account.home.encryption : null,
  accessToken: null,
  refreshToken: null,
  nextRenewal: null,
  lastError: null,
  mustLogIn: false,
  problem: null
})

/** At most four characters at each end, and never more than a quarter of a token in all. */
const preview = (token: Option.Option<Redacted.Redacted>): string | null =>
  Option.getOrNull(
    Option.map(token, (t) => {
      const length = Redacted.value(t).length
      return length < 16
        ? "*".repeat(8)
        : Snapshot.mask(Redacted.value(t), Math.min(4, Math.floor(length / 8)))
    })
  )

const stateColors = {
  valid: "green",
  refreshable: "green",
  ending: "yellow",
  expired: "red",
  dead: "red",
  mismatch: "red",
  absent: "red",
  unreadable: "red"
} as const

/** The columns of the table of accounts. If it is too wide, the tokens go before the account is cut. */
export const columns: ReadonlyArray<Table.Column> = [
  { title: "PROVIDER" },
  { title: "ACCOUNT", shrinks: "last" },
  { title: "STATE" },
  { title: "EXPIRES" },
  { title: "ACCESS TOKEN", optional: true },
  { title: "REFRESH TOKEN", optional: true },
  { title: "STORAGE", shrinks: true }
]

/** The table of accounts at `now`, with the time that is left. */
const table = (
  rows: ReadonlyArray<Row>,
  now: number,
  options: { readonly width: number; readonly colors: boolean }
): ReadonlyArray<string> =>
  Table.render(
    columns,
    rows.map((r) => [
      { text: r.provider },
      { text: r.accountId === null ? r.account : `${r.account} (${r.accountId})` },
      { text: r.state, color: stateColors[r.state] },
      { text: expires(r, now) },
      { text: r.accessToken ?? "-", color: "dim" },
      { text: r.refreshToken ?? "-", color: "dim" },
      { text: place(r) }
    ]),
    options
  )

/**
 * Describes where the grant is stored, and in the store whether it is encrypted.
 *
 * @since 0.1.0
 * @category rendering
 */
export const place = ({ encryption, storage }: Pick<Row, "encryption" | "storage">): string =>
  encryption === null ? storage : `${storage}, ${encryptionWords[encryption]}`

const encryptionWords: Readonly<Record<Account.Encryption, string>> = {
  keychain: "encrypted",
  environment: "encrypted",
  none: "not encrypted"
}

const expires = ({ expiresAt, state }: Row, now: number): string => {
  if (expiresAt === null) return state === "valid" || state === "ending" ? "never" : "-"
  return expiresAt > now ? `in ${Format.span(expiresAt - now)}` : `${Format.span(now - expiresAt)} ago`
}

/**
 * The accounts that were found. `broken` are those that could not even be identified.
 *
 * @since 0.1.0
 * @category models
 */
export interface Found {
  readonly rows: ReadonlyArray<Row>
  readonly broken: ReadonlyArray<Failure>
}

/**
 * The table, and below it the problems of accounts that could not be read.
 *
 * @since 0.1.0
 * @category rendering
 */
export const lines = (found: Found, now: number, surface: Output.Surface): ReadonlyArray<string> => {
  const { rows, broken } = found
  const width = surface.isTerminal ? surface.columns : Infinity
  return [
    ...(rows.length === 0 ? [] : table(rows, now, { width, colors: surface.colors })),
    ...rows.flatMap(({ id, lastError, problem }) =>
      [problem, lastError?.message].flatMap((words) =>
        words == null ? [] : [`${id}: ${Output.escape(words)}`]
      )
    ),
    ...broken.map(({ message }) => Output.escape(message))
  ]
}
