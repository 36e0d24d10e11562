/**
 * `latchkey logout ACCOUNT`: revokes the grant at the server, then removes it here.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import { describeMismatch, type Mismatch } from "@latchkey/core/GrantIdentity"
import type { OAuthError } from "@latchkey/oauth/OAuthError"
import * as Server from "@latchkey/oauth/Server"
import * as Revoke from "@latchkey/providers/Revoke"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Account from "../Account.js"
import * as Accounts from "../Accounts.js"
import * as ClientSecret from "../ClientSecret.js"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as Output from "../Output.js"
import * as ProviderAccess from "../ProviderAccess.js"
import * as ProviderWire from "../ProviderWire.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import { Workspace } from "../Workspace.js"

/**
 * `local` removes the grant without a request to the server, where it stays valid.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly local: boolean
  readonly json: boolean
}

/**
 * What happened to the grant at the server.
 *
 * @since 0.1.0
 * @category models
 */
export type Revoked = "revoked" | "not offered" | "not asked" | "nothing to revoke"

/**
 * A grant that could not be revoked also stays here. Otherwise it would stay valid and nobody could revoke
 * it.
 *
 * @since 0.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const account = yield* Session.find(options.account)
    const { paths } = yield* Workspace
    const session = yield* Session.open(options.local ? withoutKey(account) : account)
    const { about, storage } = session
    const failed = (error: Parameters<typeof Failure.fromToken>[0]) => Failure.fromToken(error, about)
    const revoked = options.local
      ? "not asked"
      : yield* Effect.flatMap(
          Effect.mapError(storage.load, failed),
          Option.match({
            onNone: () => Effect.succeed<Revoked>("nothing to revoke"),
            onSome: ({ entry }) =>
              Effect.flatMap(
                Session.mismatch(session, entry),
                Option.match({
                  onNone: () => revoke(account, about, entry.credentials),
                  onSome: (found) => elsewhere(found, about)
                })
              )
          })
        )
    const existed = yield* Effect.uninterruptible(
      Effect.gen(function* () {
        const removed = yield* Effect.mapError(storage.remove, failed)
        yield* ClientSecret.forget(session.account)
        yield* Accounts.remove(paths, account)
        return removed
      })
    )
    if (options.json) yield* Output.printJson({ account: about.account, removed: existed, revoked })
    else yield* Output.say(words(about.account, existed, revoked))
    return ExitCode.ok
  }).pipe(Effect.scoped)

/** Removing an encrypted grant needs no key, and the key may be what is lost. */
const withoutKey = (account: Account.Account): Account.Account =>
  account.home.kind === "store" ? { ...account, home: { kind: "store", encryption: "none" } } : account

const revoke = (
  account: Account.Account,
  about: Failure.About,
  credentials: Credentials
): Effect.Effect<Revoked, Failure.Failure, Services> =>
  Effect.gen(function* () {
    if (!Revoke.isOffered(yield* ProviderAccess.providerOf(account))) return "not offered"
    const provider = yield* ProviderAccess.providerWithSecret(account)
    const server = yield* Effect.mapError(Server.from(provider.server), ProviderAccess.failed)
    const metadata = yield* Effect.mapError(server.metadata, notRevoked(about))
    // An endpoint that exists but cannot be used is an error, because the grant would stay valid unnoticed.
    if (!("revocation_endpoint" in { ...metadata.unusable_fields, ...metadata })) return "not offered"
    const revocation = yield* Effect.mapError(Revoke.make(provider), ProviderAccess.failed)
    yield* Effect.mapError(revocation.revoke(credentials), notRevoked(about))
    return "revoked" as const
  }).pipe(ProviderWire.withHttp, Effect.scoped)

/** A revocation here would send its tokens to a server that did not issue them. */
const elsewhere = (found: Mismatch, { account }: Failure.About): Failure.Failure =>
  new Failure.Failure({
    code: ExitCode.configuration,
    reason: "GrantMismatch",
    message: `${account} was not revoked, and was not changed: ${describeMismatch(found)}. Nothing was sent.`,
    next: `set the old server and client again; or latchkey logout ${account} --local, which leaves the grant valid at its server`
  })

const notRevoked =
  ({ account }: Failure.About) =>
  (error: OAuthError): Failure.Failure =>
    new Failure.Failure({
      code: error.reason === "Misconfigured" ? ExitCode.configuration : ExitCode.tryLater,
      reason: error.reason,
      message: `${account} could not be revoked, and was not changed: ${error.message}`,
      next: `try again; or latchkey logout ${account} --local, which leaves the grant valid at the server`
    })

const words = (account: string, existed: boolean, revoked: Revoked): string => {
  if (!existed) return `${account} was not logged in.`
  switch (revoked) {
    case "revoked":
      return `${account} is logged out: the server has ended the grant, and it is removed here.`
    case "not offered":
      return `${account} was removed from this machine. The server offers no way to revoke a grant: end it in the account's settings there.`
    case "not asked":
    case "nothing to revoke":
      return `${account} was removed from this machine. The grant stays valid at the server.`
  }
}
