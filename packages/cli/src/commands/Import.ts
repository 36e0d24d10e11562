/**
 * `latchkey import PROVIDER [FILE]`: takes over the grant in a file of the form that the provider's own program
 * keeps; for providers without one, in ours.
 *
 * @since 0.1.0
 */
import type { Entry } from "@latchkey/core/Entry"
import * as OwnStorage from "@latchkey/providers/OwnStorage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
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
 * The file stays as it is. A grant of this account that is there already is not replaced.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { paths, store } = yield* Workspace
    const name = yield* Account.checkName(options.account)
    const id = { provider: options.provider, name }
    yield* Accounts.checkCase(paths, id)
    const before = yield* Accounts.get(paths, id)
    const provider = yield* ProviderAccess.providerOf(
      Option.getOrElse(before, () => ProviderAccess.ownAccount(options.provider))
    )
    const own = yield* Effect.mapError(OwnStorage.path(provider), ProviderAccess.failed)
    const file = Option.orElse(
      Option.map(options.file, (path) => Path.resolve(path)),
      () => own
    )
    if (Option.isNone(file)) {
      return yield* Failure.usage(
        `${provider.displayName} has no credential file of its own: say which file to read.`,
        `latchkey import ${options.provider} FILE`
      )
    }
    const isOwn = Option.contains(own, file.value)
    const entry = yield* entryIn(provider, file.value)
    const about = { account: Account.idOf(id), login: `latchkey login ${options.provider}` }
    const inOwnFile = provider.credentials !== undefined && name === Account.defaultName
    if (isOwn && inOwnFile) {
      return yield* Failure.usage(
        `${about.account} works on ${file.value} itself: there is nothing to import.`,
        `latchkey status ${about.account}; or --account NAME, for a copy under that name`
      )
    }
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
    const manager = yield* Session.keeper(session)
    yield* Effect.uninterruptible(
      Effect.zipRight(Effect.mapError(manager.save(entry.credentials), failed), Accounts.put(paths, account))
    )
    const row = yield* Shown.rowOf(session)
    if (options.json) yield* Output.printJson(row)
    else yield* Output.say(`Imported from ${file.value}: ${Shown.sentence(row)}`)
    if (Option.isSome(entry.credentials.refreshToken)) {
      yield* Output.say(
        `Both now hold the same grant. Where its refresh token is good only once, the first to use it ends it for the other: use one of them, and remove the grant from the other.`
      )
    }
    return ExitCode.ok
  }).pipe(Effect.scoped)

const entryIn = (
  provider: Parameters<typeof OwnStorage.make>[0],
  path: string
): Effect.Effect<Entry, Failure.Failure> =>
  Effect.gen(function* () {
    const { storage } = yield* OwnStorage.make(provider, { path })
    const found = yield* storage.load
    if (Option.isSome(found)) return found.value.entry
    return yield* Failure.usage(
      `There is no grant of ${provider.displayName} in ${path}.`,
      "give the path of the file that holds it"
    )
  }).pipe(
    Effect.mapError((error) =>
      error._tag === "Failure"
        ? error
        : error._tag === "StorageError"
          ? Failure.storage(error.reason, error.message)
          : ProviderAccess.failed(error)
    )
  )
