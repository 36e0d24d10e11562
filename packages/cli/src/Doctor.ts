/**
 * The checks of `doctor`: files and modes, settings, providers, the keychain, the clock, and each account's
 * grant and lease.
 *
 * @since 0.1.0
 */
import { clockTolerance } from "@latchkey/core/Credentials"
import type * as Entry from "@latchkey/core/Entry"
import { describeMismatch } from "@latchkey/core/GrantIdentity"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { existsSync, lstatSync, realpathSync, type Stats } from "node:fs"
import * as Path from "node:path"
import type { Account } from "./Account.js"
import * as Failure from "./Failure.js"
import * as Format from "./Format.js"
import { isMountedFile } from "./internal/mounts.js"
import * as PrivateText from "./internal/PrivateText.js"
import * as Writability from "./internal/writability.js"
import * as ProviderAccess from "./ProviderAccess.js"
import * as ProviderWire from "./ProviderWire.js"
import * as Report from "./Report.js"
import * as Session from "./Session.js"
import { encryptionAdvice } from "./Store.js"
import { Workspace } from "./Workspace.js"

/**
 * The result of one check. `note` is information, not a problem. `mend` is what to do, and null if everything
 * is well.
 *
 * @since 0.1.0
 * @category models
 */
export interface Finding {
  readonly about: string
  readonly verdict: "well" | "note" | "wrong"
  readonly found: string
  readonly mend: string | null
}

const well = (about: string, found: string): Finding => ({ about, verdict: "well", found, mend: null })

const note = (about: string, found: string, mend: string): Finding => ({
  about,
  verdict: "note",
  found,
  mend
})

const wrong = (about: string, found: string, mend: string): Finding => ({
  about,
  verdict: "wrong",
  found,
  mend
})

/**
 * The failure that another command would report. One that refers to the doctor already has its advice in the
 * message.
 */
const failure = (about: string, { message, next }: Failure.Failure): Finding =>
  wrong(about, message, next === undefined || next === "latchkey doctor" ? "do what the message says" : next)

type Findings<R = Workspace> = Effect.Effect<ReadonlyArray<Finding>, never, R>

/**
 * Runs all checks, in order.
 *
 * @since 0.1.0
 * @category examinations
 */
export const all: Findings<Workspace | Scope.Scope> = Effect.suspend(() =>
  Effect.map(Effect.all([clock, files, settings, providers, keychain, accounts]), (found) => found.flat())
)

/** This program did not exist before this date. */
const earliest = Date.UTC(2025, 0, 1)

const clock: Findings = Effect.map(Clock.currentTimeMillis, (now) => [
  now < earliest
    ? wrong("clock", `it says ${isoOf(now)}, which is long past.`, "set the clock of this machine")
    : well("clock", `it says ${isoOf(now)}.`)
])

const isoOf = (millis: number): string => new Date(millis).toISOString()

const files: Findings = Effect.flatMap(Workspace, ({ paths }) =>
  Effect.gen(function* () {
    const folders = yield* Effect.orElseSucceed(PrivateText.list(paths.accounts), () => [])
    const records = yield* Effect.forEach(folders, (folder) =>
      Effect.orElseSucceed(
        Effect.map(PrivateText.list(Path.join(paths.accounts, folder)), (names) =>
          names.map((name) => Path.join(paths.accounts, folder, name))
        ),
        () => []
      )
    )
    const directories = [paths.data, paths.accounts, ...folders.map((f) => Path.join(paths.accounts, f))]
    const secret = ["", "-wal", "-shm"].map((suffix) => `${paths.store}${suffix}`)
    const looks = [
      ...directories.map((path) => look(path, 0o022, "700")),
      ...secret.map((path) => look(path, 0o077, "600")),
      ...records.flat().map((path) => look(path, 0o022, "600"))
    ]
    const unwritable = [
      ...[paths.data, ...directories.slice(1).filter(existsSync)].map(Writability.ofFolder),
      ...[...secret, ...records.flat()].map(Writability.ofFile)
    ]
    const bad = [...looks, ...unwritableFindings("files", unwritable, "XDG_DATA_HOME")].filter(
      (finding) => finding !== undefined
    )
    return bad.length > 0 ? bad : [well("files", `all files in ${paths.data} are correct.`)]
  })
)

/** One finding for each place: everything below a folder cannot be written for the same reason. */
const unwritableFindings = (
  about: string,
  problems: ReadonlyArray<Writability.Problem | undefined>,
  instead?: string
): ReadonlyArray<Finding> => {
  const found = problems.filter((problem) => problem !== undefined)
  return found
    .filter(({ place }, index) => found.findIndex((other) => other.place === place) === index)
    .map((problem) => {
      const { found: words, mend } = Writability.describe(problem, instead)
      return wrong(about, words, mend)
    })
}

/**
 * The file of another program, and the folder for its locks, backups and next version. A mounted file is
 * written in place, whatever its folder allows.
 */
const ownPlace = (one: Account, id: string, path: string): ReadonlyArray<Finding> =>
  one.home.kind === "provider" && Path.isAbsolute(path)
    ? unwritableFindings(id, [
        isMountedFile(path) ? Writability.ofFile(path) : Writability.ofFolder(Path.dirname(realOf(path)))
      ])
    : []

const realOf = (path: string): string => {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** A mounted file works, but not as well as one in a mounted directory. */
const mounted = (id: string, path: string): ReadonlyArray<Finding> =>
  isMountedFile(path)
    ? [
        note(
          id,
          `${path} is a single file that is mounted: it is written in place, and its lock and leases are not shared with ` +
            "programs that see it through another mount.",
          "mount its directory instead"
        )
      ]
    : []

/** Returns the problem with a file's mode or owner. Nothing if the file does not exist. */
const look = (path: string, forbidden: number, mode: string): Finding | undefined => {
  const stats = statOf(path)
  if (stats === undefined || process.platform === "win32") return undefined
  if ("code" in stats) return wrong("files", `${path} cannot be read (${stats.code}).`, "check its directory")
  if (process.getuid !== undefined && stats.uid !== process.getuid()) {
    return wrong("files", `${path} belongs to another user.`, `sudo chown "$(id -u)" ${JSON.stringify(path)}`)
  }
  const has = stats.mode & 0o777
  return (has & forbidden) === 0
    ? undefined
    : wrong(
        "files",
        `${path} has mode 0${has.toString(8)}, so other users can access it.`,
        `chmod ${mode} ${JSON.stringify(path)}`
      )
}

const statOf = (path: string): Stats | { readonly code: string } | undefined => {
  try {
    return lstatSync(path)
  } catch (error) {
    const code = PrivateText.codeOf(error)
    return code === "ENOENT" || code === "ENOTDIR" ? undefined : { code }
  }
}

const settings: Findings = Effect.map(
  Effect.either(Effect.provide(TokenConfig.TokenConfig, TokenConfig.layerConfig())),
  (config) =>
    Either.match(config, {
      onLeft: (error) => [wrong("settings", Failure.configProblem(error), "correct it, or unset it")],
      onRight: ({ credentialsTtl, grace }) => [
        well(
          "settings",
          `a token is renewed ${Format.span(grace)} before it expires; memory is trusted for ${Format.span(credentialsTtl)}.`
        )
      ]
    })
)

const providers: Findings = Effect.gen(function* () {
  const { paths } = yield* Workspace
  const { all: every } = yield* ProviderAccess.registry
  const read = yield* Effect.either(every)
  const repair = `repair ${paths.providers}, or move it away`
  if (Either.isLeft(read)) return [wrong("providers", read.left.message, repair)]
  const broken = read.right.flatMap((one) =>
    Either.isLeft(one) ? [wrong("providers", one.left.message, repair)] : []
  )
  const ids = read.right.flatMap((one) => (Either.isRight(one) ? [one.right.id] : []))
  return [...broken, well("providers", `${ids.join(", ")}.`)]
})

const keychain: Findings = Effect.gen(function* () {
  const { store } = yield* Workspace
  const chosen = yield* Effect.either(store.choose)
  if (Either.isLeft(chosen)) {
    const error = chosen.left
    const message = error._tag === "StorageError" ? error.message : Failure.configProblem(error)
    return [wrong("encryption", message, encryptionAdvice)]
  }
  const { encryption, why } = chosen.right
  if (why !== undefined) {
    return [
      note(
        "encryption",
        `new grants are stored without encryption, and only this user can read them. ${why}`,
        "set AUTH__ENCRYPTION_KEYS to a key from: openssl rand -base64 32"
      )
    ]
  }
  return [well("encryption", encryptionWords[encryption])]
})

const encryptionWords = {
  keychain: "new grants are encrypted with a key in the keychain, which is open.",
  environment: "new grants are encrypted with the first key of AUTH__ENCRYPTION_KEYS.",
  none: "new grants are stored without encryption, because LATCHKEY_ENCRYPTION says so."
} as const

const accounts: Findings = Effect.gen(function* () {
  const found = yield* Effect.either(Session.all)
  if (Either.isLeft(found)) return [failure("accounts", found.left)]
  const { accounts: every, broken } = found.right
  // Problems with providers were reported above.
  const lost = broken.filter(({ reason }) => reason === "Accounts")
  const each = yield* Effect.forEach(every, (one) => Effect.scoped(account(one)))
  return [
    ...lost.map((one) => failure("accounts", one)),
    ...(every.length === 0 ? [note("accounts", "there are none yet.", "latchkey login PROVIDER")] : []),
    ...each.flat(),
    ...(yield* serverClocks(every))
  ]
})

/** How many accounts' servers are asked for their clock at most. */
const mostClocks = 5

/** Servers judge assertions, proofs and the instants that they wrote by their own clock. */
const serverClocks = (every: ReadonlyArray<Account>): Findings =>
  Effect.map(
    // A grant in its own program's file is maintained by that program.
    Effect.forEach(
      every.filter(({ home }) => home.kind !== "provider").slice(0, mostClocks),
      ProviderWire.serverAhead,
      { concurrency: "unbounded" }
    ),
    (shown) => {
      const byServer = new Map(
        shown.flatMap((one) => Option.toArray(one)).map(({ ahead, server }) => [server, ahead])
      )
      return [...byServer].map(([server, ahead]) =>
        Math.abs(ahead) <= clockTolerance
          ? well("clock", `it agrees with that of ${server}.`)
          : wrong(
              "clock",
              `it is ${Format.span(Math.abs(ahead))} ${ahead > 0 ? "behind" : "ahead of"} that of ${server}.`,
              "set the clock of this machine"
            )
      )
    }
  )

const account = (one: Account): Findings<Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const opened = yield* Effect.either(Session.open(one))
    const { account: id, login } = Session.aboutOf(one)
    if (Either.isLeft(opened)) return [failure(id, opened.left)]
    const { lease, storage } = opened.right
    const loaded = yield* Effect.either(storage.load)
    if (Either.isLeft(loaded)) {
      return [wrong(id, loaded.left.message, mendOf(loaded.left, id, login))]
    }
    const now = yield* Clock.currentTimeMillis
    const entry = Option.map(loaded.right, (l) => l.entry)
    const client = yield* Effect.either(ProviderWire.refresher(opened.right))
    const mismatch = Option.isSome(entry) ? yield* Session.mismatch(opened.right, entry.value) : Option.none()
    const unwritable = ownPlace(one, id, storage.location)
    // If its files cannot be created, that was already reported.
    const held =
      unwritable.length > 0
        ? Either.void
        : yield* Effect.either(Effect.scoped(Effect.asVoid(lease.acquire(id, "5 seconds"))))
    return [
      Option.match(mismatch, {
        onNone: () => grant(one, id, login, entry, now),
        onSome: (found) =>
          wrong(id, `${describeMismatch(found)}.`, Failure.mismatchAdvice({ account: id, login }))
      }),
      ...mounted(id, storage.location),
      ...unwritable,
      ...Option.toArray(
        Option.flatMap(entry, (e) => Option.orElse(misdated(id, e), () => fromTheFuture(id, e, now)))
      ),
      ...(Either.isLeft(client) ? [failure(id, client.left)] : []),
      ...(Either.isLeft(held) ? [leaseFinding(id, held.left)] : [])
    ]
  })

/** A new login replaces a lost grant. A grant that may become readable again must not be removed. */
const mendOf = ({ reason }: StorageError, id: string, login: string): string => {
  switch (reason) {
    case "NoGrant":
      return login
    case "Malformed":
    case "WrongUnit":
    case "WrongKey":
      return `do what the message says; or latchkey logout ${id} --local, then ${login}`
    default:
      return "do what the message says"
  }
}

const grant = (
  one: Account,
  id: string,
  login: string,
  entry: Option.Option<Entry.Entry>,
  now: number
): Finding => {
  const state = Report.stateOf(entry, one.grant, now)
  if (state === "ending") return note(id, stateWords[state], login)
  return Report.isUsable(state) ? well(id, stateWords[state]) : wrong(id, stateWords[state], login)
}

const stateWords: { readonly [state in Exclude<Report.State, "mismatch" | "unreadable">]: string } = {
  valid: "its token is valid.",
  refreshable: "its token is renewed when it is asked for.",
  ending: "its token is valid, but the server has ended the grant.",
  expired: "its token has expired, and there is nothing to renew it with.",
  dead: "its token has expired, and the server has ended the grant.",
  absent: "it has no grant."
}

/**
 * Clocks differ by seconds. A larger difference means that this clock was set back, or the other machine's is
 * ahead.
 */
const slack = 120_000

const fromTheFuture = (id: string, { credentials }: Entry.Entry, now: number): Option.Option<Finding> =>
  Option.filterMap(credentials.obtainedAt, (at) =>
    at > now + slack
      ? Option.some(
          wrong(
            id,
            `its token was obtained ${Format.span(at - now)} from now: the clock was set back, or was ahead then.`,
            "set the clock of this machine; then: latchkey refresh " + id
          )
        )
      : Option.none()
  )

/** The server's own time is the evidence. */
const misdated = (id: string, { credentials }: Entry.Entry): Option.Option<Finding> =>
  Option.filterMap(
    Option.zipWith(credentials.obtainedAt, credentials.serverTime, (ours, theirs) => ours - theirs),
    (ahead) =>
      Math.abs(ahead) > clockTolerance
        ? Option.some(
            wrong(
              id,
              `when its token was obtained, the clock was ${Format.span(Math.abs(ahead))} ${ahead > 0 ? "ahead of" : "behind"} the server's.`,
              "set the clock of this machine; then: latchkey refresh " + id
            )
          )
        : Option.none()
  )

const leaseFinding = (
  id: string,
  error: { readonly reason: string; readonly message: string; readonly holder?: string | undefined }
): Finding =>
  error.reason === "Busy"
    ? note(
        id,
        `a refresh is under way${error.holder === undefined ? "" : `, by ${error.holder}`}.`,
        "wait for it: if its process is gone, Latchkey takes the lease over"
      )
    : wrong(
        id,
        `the lease cannot be taken: ${error.message}`,
        "check the store's directory and its free space"
      )
