/**
 * `latchkey export ACCOUNT [FILE]`: writes the grant into a file in the form of the provider's own program,
 * or in Latchkey's own form for providers without one. Other contents of the file stay.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as OwnStorage from "@latchkey/providers/OwnStorage"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Path from "node:path"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Output from "../Output.js"
import * as ProviderAccess from "../ProviderAccess.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"

/**
 * `force` replaces another grant in the file.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly file: Option.Option<string>
  readonly force: boolean
  readonly json: boolean
}

/**
 * Creates the file for this user alone. Prints nothing secret.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const account = yield* Session.find(options.account)
    const session = yield* Session.open(account)
    const { about } = session
    const found = yield* Effect.mapError(session.storage.load, (error) => Failure.fromToken(error, about))
    if (Option.isNone(found)) {
      return yield* new Failure.Failure({
        code: ExitCode.loginRequired,
        reason: "NoCredentials",
        message: `${about.account} has no grant to export.`,
        next: about.login
      })
    }
    const { credentials, identity } = found.value.entry
    const provider = yield* ProviderAccess.providerOf(account)
    const own = yield* Effect.mapError(OwnStorage.path(provider), ProviderAccess.failed)
    const file = Option.orElse(
      Option.map(options.file, (path) => Path.resolve(path)),
      () => own
    )
    if (Option.isNone(file) || (account.home.kind === "provider" && Option.contains(own, file.value))) {
      return yield* Failure.usage(
        Option.isNone(file)
          ? `${provider.displayName} has no credential file of its own: say which file to write.`
          : `${about.account} uses ${file.value} itself: there is nothing to export.`,
        `latchkey export ${about.account} FILE`
      )
    }
    // The program's own place may be the keychain. Only a named file is certain to be a file.
    const place = yield* write(provider, file.value, { credentials, identity }, options)
    if (options.json) yield* Output.printJson({ account: about.account, file: place })
    else yield* Output.say(`${about.account} was written to ${place}. Only this user can read it.`)
    if (Option.isSome(credentials.refreshToken)) {
      yield* Output.say(
        `Both now hold the same grant. If its refresh token works only once, the first to use it ends the grant for the other. Use only one of them, and remove the grant from the other.`
      )
    }
    return ExitCode.ok
  }).pipe(Effect.scoped)

const write = (
  provider: Parameters<typeof OwnStorage.make>[0],
  path: string,
  { credentials, identity }: Pick<Entry.Entry, "credentials" | "identity">,
  { account, file, force }: Options
): Effect.Effect<string, Failure.Failure> =>
  Effect.gen(function* () {
    const { storage } = yield* OwnStorage.make(provider, Option.isSome(file) ? { path } : {})
    const before = yield* Effect.catchIf(
      storage.load,
      ({ reason }) => reason === "NoGrant",
      () => Effect.succeedNone
    )
    const other = Option.exists(
      before,
      ({ entry }) =>
        !Credentials.sameRefreshToken(entry.credentials, credentials) ||
        !Credentials.sameAccessToken(entry.credentials, credentials)
    )
    if (other && !force) {
      return yield* Failure.usage(
        `${path} holds another grant, which would be lost.`,
        `latchkey export ${account} ${path} --force, or another file`
      )
    }
    yield* storage.commit(
      Entry.saved(
        Option.map(before, ({ entry }) => entry),
        credentials,
        identity
      ),
      Option.map(before, ({ version }) => version)
    )
    return storage.location
  }).pipe(
    Effect.mapError((error) => {
      switch (error._tag) {
        case "Failure":
          return error
        case "StorageError":
          return Failure.storage(error.reason, error.message)
        case "CommitRefused":
          return Failure.storage(error.reason, error.message, "try again")
        default:
          return ProviderAccess.failed(error)
      }
    })
  )
