/**
 * `latchkey import PROVIDER [FILE]`: imports the grant from a file in the form of the provider's own program,
 * or in Latchkey's own form for providers without one.
 *
 * @since 0.1.0
 */
import type { Entry } from "@latchkey/core/Entry"
import { describeMismatch, type Mismatch } from "@latchkey/core/GrantIdentity"
import * as OwnStorage from "@latchkey/providers/OwnStorage"
import type { Provider } from "@latchkey/providers/Provider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { existsSync } from "node:fs"
import * as Path from "node:path"
import * as Account from "../Account.js"
import * as Accounts from "../Accounts.js"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Output from "../Output.js"
import * as ProviderAccess from "../ProviderAccess.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import { Workspace } from "../Workspace.js"
import * as Shown from "./Shown.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly provider: string
  readonly file: Option.Option<string>
  readonly account: string
  readonly json: boolean
}

/**
 * Leaves the file unchanged. Does not replace an existing grant of this account.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { paths, store } = yield* Workspace
    const name = yield* Account.checkName(options.account)
    const id = { provider: yield* Account.checkProvider(options.provider), name }
    yield* Accounts.checkCase(paths, id)
    const before = yield* Accounts.get(paths, id)
    const provider = yield* ProviderAccess.providerOf(
      Option.getOrElse(before, () => ProviderAccess.ownAccount(options.provider))
    )
    const about = { account: Account.idOf(id), login: `latchkey login ${options.provider}` }
    const own = yield* Effect.mapError(OwnStorage.locate(provider), ProviderAccess.failed)
    const inOwnFile = provider.credentials !== undefined && name === Account.defaultName
    const { entry, place } = yield* find(provider, {
      given: Option.map(options.file, (path) => Path.resolve(path)),
      own,
      inOwnFile,
      about
    })
    const { encryption } = yield* Effect.mapError(store.choose, (error) => Failure.fromToken(error, about))
    const account: Account.Account = Option.getOrElse(before, () => ({
      ...ProviderAccess.ownAccount(options.provider),
      ...id,
      home: inOwnFile ? { kind: "provider" as const } : { kind: "store" as const, encryption }
    }))
    const session = yield* Session.open(account)
    const failed = (error: Parameters<typeof Failure.fromToken>[0]) => Failure.fromToken(error, about)
    if (Option.isSome(yield* Effect.mapError(session.storage.load, failed))) {
      return yield* Failure.usage(
        `${about.account} has a grant already, which an import does not replace.`,
        `latchkey logout ${about.account}, or --account NAME`
      )
    }
    const other = yield* Session.mismatch(session, entry)
    if (Option.isSome(other)) return yield* foreign(other.value, place, about)
    const manager = yield* Session.keeper(session)
    yield* Effect.uninterruptible(
      Effect.zipRight(Effect.mapError(manager.save(entry.credentials), failed), Accounts.put(paths, account))
    )
    const row = yield* Shown.rowOf(session)
    if (options.json) yield* Output.printJson(row)
    else yield* Output.say(`Imported from ${place}: ${Shown.sentence(row)}`)
    if (Option.isSome(entry.credentials.refreshToken)) {
      yield* Output.say(
        `Both now hold the same grant. If its refresh token works only once, the first to use it ends the grant for the other. Use only one of them, and remove the grant from the other.`
      )
    }
    return ExitCode.ok
  }).pipe(Effect.scoped)

/** An imported grant would be sent to a server that did not issue it. */
const foreign = (found: Mismatch, place: string, { account }: Failure.About): Failure.Failure =>
  new Failure.Failure({
    code: ExitCode.configuration,
    reason: "GrantMismatch",
    message: `The grant in ${place} is not for ${account}: ${describeMismatch(found)}. Nothing was imported.`,
    next: "import it for the provider and the client that it was obtained with"
  })

interface Found {
  readonly entry: Entry
  readonly place: string
}

interface Places {
  readonly given: Option.Option<string>
  readonly own: Option.Option<OwnStorage.Location>
  readonly inOwnFile: boolean
  readonly about: Failure.About
}

/**
 * Finds the grant in the named file, or else where the provider's own program or another program keeps it.
 */
const find = (provider: Provider, places: Places): Effect.Effect<Found, Failure.Failure> =>
  Effect.gen(function* () {
    const { about, given, inOwnFile, own } = places
    const isOwn = Option.isNone(given) || Option.exists(own, ({ file }) => file === given.value)
    if (!isOwn) return yield* required(provider, given.value)
    if (Option.isNone(own)) {
      return yield* Failure.usage(
        `${provider.displayName} has no credential file of its own: say which file to read.`,
        `latchkey import ${provider.id} FILE`
      )
    }
    const holding = yield* entryAt(provider, given)
    if (inOwnFile && (Option.isSome(given) || Option.isSome(holding))) {
      return yield* worksItself(about, own.value.file)
    }
    if (Option.isSome(holding)) return holding.value
    if (Option.isSome(given)) return yield* noGrant(provider, given.value)
    const others = (yield* Effect.mapError(OwnStorage.importPlaces(provider), ProviderAccess.failed)).filter(
      (path) => existsSync(path)
    )
    const looked = yield* Effect.forEach(others, (path) =>
      Effect.either(entryAt(provider, Option.some(path)))
    )
    const found = looked.flatMap((one) => (Either.isRight(one) ? Option.toArray(one.right) : []))
    if (found[0] !== undefined) return found[0]
    const wrong = looked.find(Either.isLeft)
    if (wrong !== undefined) return yield* wrong.left
    return yield* inOwnFile ? worksItself(about, own.value.file) : noGrant(provider, own.value.file)
  })

const required = (provider: Provider, path: string): Effect.Effect<Found, Failure.Failure> =>
  Effect.flatMap(entryAt(provider, Option.some(path)), (found) =>
    Effect.mapError(found, () => noGrant(provider, path))
  )

/** Returns the grant in a file, or where the provider's own program keeps it. */
const entryAt = (
  provider: Provider,
  path: Option.Option<string>
): Effect.Effect<Option.Option<Found>, Failure.Failure> =>
  Effect.gen(function* () {
    const { storage } = yield* OwnStorage.make(provider, { path: Option.getOrUndefined(path) })
    return Option.map(yield* storage.load, ({ entry }): Found => ({ entry, place: storage.location }))
  }).pipe(
    Effect.mapError((error) =>
      error._tag === "StorageError"
        ? Failure.storage(error.reason, error.message)
        : ProviderAccess.failed(error)
    )
  )

const noGrant = ({ displayName }: Provider, path: string): Failure.Failure =>
  Failure.usage(`There is no grant of ${displayName} in ${path}.`, "give the path of the file that holds it")

const worksItself = ({ account }: Failure.About, file: string): Failure.Failure =>
  Failure.usage(
    `${account} uses ${file} itself: there is nothing to import.`,
    `latchkey status ${account}; or --account NAME, for a copy under that name`
  )
