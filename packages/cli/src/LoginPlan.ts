/**
 * Plans a login: the provider with its changes, the resulting account, and the way to log in.
 *
 * @since 0.1.0
 */
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type * as Provider from "@latchkey/providers/Provider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Account, ClientSecret as SecretSource, Home } from "./Account.js"
import * as AccountModule from "./Account.js"
import * as ClientSecret from "./ClientSecret.js"
import * as Failure from "./Failure.js"
import type * as Output from "./Output.js"
import * as Prompt from "./Prompt.js"
import * as ProviderAccess from "./ProviderAccess.js"
import { encryptionAdvice } from "./Store.js"
import { Workspace } from "./Workspace.js"

/**
 * The arguments of a login. A missing one defaults to that of the last login, or to the provider's setting.
 *
 * @since 0.1.0
 * @category models
 */
export interface Asked {
  readonly way: Option.Option<Provider.Login>
  readonly issuer: Option.Option<string>
  readonly clientId: Option.Option<string>
  readonly scopes: ReadonlyArray<string>
  /** Parameters of the authorization request, each `NAME=VALUE`. */
  readonly parameters: ReadonlyArray<string>
  readonly clientSecretFile: Option.Option<string>
  readonly clientSecretVariable: Option.Option<string>
  readonly askClientSecret: boolean
}

/**
 * `secret` was typed in just now and must be stored. `warning` is shown before the login begins.
 *
 * @since 0.1.0
 * @category models
 */
export interface Plan {
  readonly account: Account
  readonly provider: Provider.Provider
  readonly way: Provider.Login
  readonly scopes: ReadonlyArray<string> | undefined
  readonly secret: Option.Option<Redacted.Redacted>
  readonly warning: string | undefined
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  id: Pick<Account, "provider" | "name">,
  before: Option.Option<Account>,
  asked: Asked
): Effect.Effect<Plan, Failure.Failure, Workspace | Output.Output | Scope.Scope> =>
  Effect.gen(function* () {
    if (Option.isSome(asked.issuer)) yield* checkIssuer(asked.issuer.value)
    const parameters = yield* parametersOf(asked.parameters)
    const grant = grantOf(before, asked)
    const settings = settingsOf(before, asked, grant, parameters)
    const { get } = yield* ProviderAccess.registry
    const told = Object.keys(settings).length > 0
    const bare = yield* Effect.mapError(get(id.provider, told ? settings : undefined), ProviderAccess.failed)
    if (bare.client.clientId === undefined) return yield* noClient(id, bare.displayName, asked)
    const { home, warning } = yield* homeOf(id, before, bare)
    const source = yield* secretSource(before, asked, bare, grant)
    const account: Account = {
      latchkey: 1,
      ...id,
      grant,
      home,
      ...(source !== undefined && { clientSecret: source }),
      settings
    }
    const typed =
      source?.from === "stored" && mustBeAsked(before, asked)
        ? Option.some(yield* ask(bare.displayName))
        : Option.none()
    const secret = Option.isSome(typed) ? typed : yield* ClientSecret.read(account)
    const provider = yield* Effect.mapError(
      get(id.provider, told || Option.isSome(secret) ? ClientSecret.withSecret(settings, secret) : undefined),
      ProviderAccess.failed
    )
    const scopes = asked.scopes.length > 0 ? asked.scopes : undefined
    return { account, provider, way: wayOf(provider, grant, asked), scopes, secret: typed, warning }
  })

const checkIssuer = (issuer: string) =>
  Either.mapLeft(Endpoint.check("--issuer", issuer), ({ message }) =>
    Failure.usage(`${message}.`, "latchkey login --help")
  )

const parametersOf = (
  given: ReadonlyArray<string>
): Effect.Effect<Record<string, string>, Failure.Failure> => {
  const bad = given.find((each) => !/^[^=\s]+=/.test(each))
  return bad === undefined
    ? Effect.succeed(
        Object.fromEntries(
          given.map((each) => [each.slice(0, each.indexOf("=")), each.slice(each.indexOf("=") + 1)])
        )
      )
    : Failure.usage(
        "--param needs a name and a value: NAME=VALUE.",
        "latchkey login PROVIDER --param prompt=consent"
      )
}

const noClient = (
  { name, provider }: Pick<Account, "provider" | "name">,
  displayName: string,
  { issuer }: Asked
): Failure.Failure =>
  Failure.configuration(
    `${displayName} needs a client of your own: register an application with it.`,
    // A login that fails stores nothing, so the issuer must be given again.
    Option.isSome(issuer)
      ? AccountModule.loginToUnknown(provider, name)
      : `latchkey login ${provider} --client-id ID`,
    "NoClient"
  )

const grantOf = (before: Option.Option<Account>, { way }: Asked): Account["grant"] =>
  Option.match(way, {
    onSome: (w) => (w === "clientCredentials" ? "client-credentials" : "refresh"),
    onNone: () => Option.match(before, { onNone: () => "refresh", onSome: (b) => b.grant })
  })

const wayOf = ({ login }: Provider.Provider, grant: Account["grant"], { way }: Asked): Provider.Login =>
  Option.getOrElse(way, () => (grant === "client-credentials" ? "clientCredentials" : login.ways[0]!))

/** A server that is known only by its issuer may support any way. Its metadata shows which ones. */
const everyWay: ReadonlyArray<Provider.Login> = ["browser", "device", "manual", "clientCredentials"]

const settingsOf = (
  before: Option.Option<Account>,
  asked: Asked,
  grant: Account["grant"],
  parameters: Readonly<Record<string, string>>
): Account["settings"] => {
  const settings: Record<string, unknown> = { ...Option.getOrUndefined(before)?.settings }
  if (Option.isSome(asked.issuer)) {
    settings["server"] = { issuer: asked.issuer.value }
    settings["login"] = { ...section(settings["login"]), ways: everyWay }
  }
  if (Option.isSome(asked.clientId)) settings["client"] = { id: asked.clientId.value }
  if (asked.scopes.length > 0) settings["scopes"] = asked.scopes
  if (Object.keys(parameters).length > 0) {
    const login = section(settings["login"])
    settings["login"] = {
      ...login,
      authorizationParameters: { ...section(login["authorizationParameters"]), ...parameters },
      deviceParameters: { ...section(login["deviceParameters"]), ...parameters }
    }
  }
  if (grant === "client-credentials") {
    settings["login"] = { ...section(settings["login"]), ways: everyWay }
    settings["refresh"] = { by: "clientCredentials" }
  } else delete settings["refresh"]
  return settings
}

const section = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}

/**
 * The provider's own file holds one account. Other accounts, and those of providers without a file, are in
 * the store.
 */
const homeOf = (
  id: Pick<Account, "provider" | "name">,
  before: Option.Option<Account>,
  { credentials }: Provider.Provider
): Effect.Effect<{ readonly home: Home; readonly warning: string | undefined }, Failure.Failure, Workspace> =>
  Effect.gen(function* () {
    if (credentials !== undefined && id.name === AccountModule.defaultName) {
      return { home: { kind: "provider" }, warning: undefined }
    }
    const { store } = yield* Workspace
    const about = { account: AccountModule.idOf(id), login: "latchkey doctor" }
    const { encryption, why } = yield* Effect.mapError(store.choose, (error) => {
      const failed = Failure.fromToken(error, about)
      return error._tag === "StorageError"
        ? Failure.storage(failed.reason, failed.message, encryptionAdvice)
        : failed
    })
    const known = Option.exists(before, (b) => b.home.kind === "store" && b.home.encryption === encryption)
    return {
      home: { kind: "store", encryption },
      warning: why === undefined || known ? undefined : inClear(why)
    }
  })

const inClear = (why: string): string =>
  `The grant will be stored without encryption, in a file that only this user can read, because there is no keychain here. (${why.split(": ")[0]}.) ` +
  "To have it encrypted, set AUTH__ENCRYPTION_KEYS to a key from: openssl rand -base64 32"

const secretSource = (
  before: Option.Option<Account>,
  asked: Asked,
  { client }: Provider.Provider,
  grant: Account["grant"]
): Effect.Effect<SecretSource | undefined, Failure.Failure> =>
  Effect.gen(function* () {
    const given: ReadonlyArray<SecretSource> = [
      ...Option.toArray(Option.map(asked.clientSecretFile, (path) => ({ from: "file", path }) as const)),
      ...Option.toArray(
        Option.map(asked.clientSecretVariable, (name) => ({ from: "variable", name }) as const)
      ),
      ...(asked.askClientSecret ? [{ from: "stored" } as const] : [])
    ]
    if (given.length > 1) {
      return yield* Failure.usage(
        "The client's secret can come from one place only.",
        "one of --client-secret-file, --client-secret-env, --ask-client-secret"
      )
    }
    const kept = given[0] ?? Option.getOrUndefined(before)?.clientSecret
    if (kept !== undefined) return kept
    const needed =
      client.secret === undefined &&
      client.authentication !== "assertion" &&
      (grant === "client-credentials" || client.authentication !== "none")
    return needed ? { from: "stored" } : undefined
  })

const mustBeAsked = (before: Option.Option<Account>, { askClientSecret }: Asked): boolean =>
  askClientSecret || Option.getOrUndefined(before)?.clientSecret?.from !== "stored"

const ask = (displayName: string) =>
  Prompt.secret(
    `The secret of the client at ${displayName} (not shown): `,
    "--client-secret-env NAME, or --client-secret-file FILE"
  )
