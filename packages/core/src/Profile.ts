/**
 * The account that a grant belongs to, as one unified record, and the port that fetches it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Credentials, Extras } from "./Credentials.js"

/**
 * An account. `extras` holds a provider's additional fields. It holds no secret.
 *
 * @since 0.1.0
 * @category models
 */
export class Profile extends Data.Class<{
  readonly accountId: Option.Option<string>
  readonly email: Option.Option<string>
  readonly displayName: Option.Option<string>
  readonly provider: string
  readonly extras: Extras
}> {}

/**
 * Creates a profile from plain values. Leave out those that are absent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly provider: string
  readonly accountId?: string | undefined
  readonly email?: string | undefined
  readonly displayName?: string | undefined
  readonly extras?: Extras | undefined
}): Profile =>
  new Profile({
    provider: options.provider,
    accountId: Option.fromNullable(options.accountId),
    email: Option.fromNullable(options.email),
    displayName: Option.fromNullable(options.displayName),
    extras: options.extras ?? {}
  })

/**
 * Creates the profile that the credentials alone give: the account.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromCredentials = (provider: string, credentials: Credentials): Profile =>
  make({ provider, accountId: Option.getOrUndefined(credentials.accountId) })

/**
 * The profile could not be fetched.
 *
 * - `Rejected`: the resource server refused the token.
 * - `Unavailable`: it did not answer.
 * - `Malformed`: its answer is not a profile.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProfileError extends Schema.TaggedError<ProfileError>("@latchkey/core/ProfileError")(
  "ProfileError",
  {
    reason: Schema.Literal("Rejected", "Unavailable", "Malformed"),
    message: Schema.String,
    cause: Schema.optional(Schema.Defect)
  }
) {}

/**
 * The port. `fetch` requests the profile from the provider. `quick` reads the credentials alone, without I/O.
 *
 * @since 0.1.0
 * @category tags
 */
export class ProfileSource extends Context.Tag("@latchkey/core/ProfileSource")<
  ProfileSource,
  {
    readonly fetch: (credentials: Credentials) => Effect.Effect<Profile, ProfileError>
    readonly quick: (credentials: Credentials) => Profile
  }
>() {}
