/**
 * The secret of a client. It is never an argument: it comes from a variable or a file, or was typed in at the
 * login and is stored like the grant.
 *
 * @since 0.1.0
 */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Account from "./Account.js"
import * as Failure from "./Failure.js"
import * as PrivateText from "./internal/PrivateText.js"
import { Workspace } from "./Workspace.js"

/**
 * Returns the secret that an account's file refers to. None if it refers to none; the provider's settings may
 * have one.
 *
 * @since 0.1.0
 * @category operations
 */
export const read = (
  account: Account.Account
): Effect.Effect<Option.Option<Redacted.Redacted>, Failure.Failure, Workspace | Scope.Scope> => {
  const { clientSecret } = account
  if (clientSecret === undefined) return Effect.succeedNone
  switch (clientSecret.from) {
    case "variable":
      return Effect.asSome(fromVariable(clientSecret.name))
    case "file":
      return Effect.asSome(fromFile(clientSecret.path))
    case "stored":
      return Effect.flatMap(kept(account), ({ load }) =>
        Effect.mapBoth(load, {
          onFailure: ({ message, reason }) => Failure.storage(reason, message, "latchkey doctor"),
          onSuccess: Option.map(({ entry }) => entry.credentials.accessToken)
        })
      )
  }
}

/** Reads a secret from an environment variable. */
const fromVariable = (name: string): Effect.Effect<Redacted.Redacted, Failure.Failure> =>
  Effect.filterOrFail(
    Effect.orElseSucceed(Config.redacted(name), () => Redacted.make("")),
    (secret) => Redacted.value(secret) !== "",
    () =>
      Failure.configuration(
        `The client's secret should be in the variable ${name}, which is not set.`,
        `export ${name}`
      )
  )

/** Reads a secret from a file, without the end of its last line. */
const fromFile = (path: string): Effect.Effect<Redacted.Redacted, Failure.Failure> =>
  Effect.gen(function* () {
    const text = yield* Effect.mapError(PrivateText.read(path), (problem) =>
      Failure.configuration(`The client's secret should be in a file: ${PrivateText.describe(problem)}`)
    )
    const secret = Option.getOrElse(text, () => "").replace(/\r?\n$/, "")
    if (secret !== "" && !/[\r\n]/.test(secret)) return Redacted.make(secret)
    return yield* Failure.configuration(
      `The client's secret should be in ${path}, on a line of its own: ${secret === "" ? "there is none" : "there are several"}.`
    )
  })

/**
 * Stores a secret that was typed in, beside the grant and in the same way.
 *
 * @since 0.1.0
 * @category operations
 */
export const keep = (
  account: Account.Account,
  secret: Redacted.Redacted
): Effect.Effect<void, Failure.Failure, Workspace | Scope.Scope> =>
  Effect.gen(function* () {
    const storage = yield* kept(account)
    const saved = Effect.flatMap(storage.load, (found) =>
      storage.commit(
        Entry.saved(
          Option.map(found, ({ entry }) => entry),
          Credentials.make({ accessToken: secret, tokenType: "client-secret" })
        ),
        Option.map(found, ({ version }) => version)
      )
    )
    yield* Effect.mapError(saved, (error) => Failure.storage(error.reason, error.message, "latchkey doctor"))
  })

/**
 * Removes a secret that was typed in.
 *
 * @since 0.1.0
 * @category operations
 */
export const forget = (
  account: Account.Account
): Effect.Effect<void, Failure.Failure, Workspace | Scope.Scope> =>
  account.clientSecret?.from === "stored"
    ? Effect.flatMap(kept(account), ({ remove }) =>
        Effect.mapError(remove, ({ message, reason }) => Failure.storage(reason, message, "latchkey doctor"))
      )
    : Effect.void

/**
 * Adds the secret to the settings of a provider.
 *
 * @since 0.1.0
 * @category conversions
 */
export const withSecret = (
  settings: Account.Account["settings"],
  secret: Option.Option<Redacted.Redacted>
): Account.Account["settings"] =>
  Option.match(secret, {
    onNone: () => settings,
    onSome: (s) => ({ ...settings, client: { ...(settings["client"] ?? {}), secret: Redacted.value(s) } })
  })

const kept = (account: Account.Account) =>
  Effect.gen(function* () {
    const { store } = yield* Workspace
    if (account.home.kind !== "store") {
      return yield* Failure.configuration(
        "A client's secret can be stored only with a grant in the store of Latchkey.",
        "--client-secret-env NAME, or --client-secret-file FILE"
      )
    }
    const opened = store.open({
      provider: account.provider,
      account: `${Account.idOf(account)} client secret`,
      encryption: account.home.encryption
    })
    const { storage } = yield* Effect.mapError(opened, (error) =>
      Failure.fromToken(error, { account: Account.idOf(account), login: "latchkey doctor" })
    )
    return storage
  })
