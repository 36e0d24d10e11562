/**
 * What a login reports on the way, beside its result.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * - `NoRefreshToken`: the login succeeded without a refresh token, so it ends with its access token. `scopes` and
 *   `parameters` (of the authorization URL) are what to add to the next login to get one, where that is known.
 * - `StrayAnswer`: a request to the redirect URI that is not the answer of this login was ignored; `count` says how
 *   many there were. Reported for the first, the second, the fourth, and so on.
 * - `FetchedAnswer`: the answer of this login was loaded in the background, as by an extension of the browser, and was
 *   ignored; counted and reported in the same way.
 *
 * `message` is for people and holds no secret.
 *
 * @since 0.1.0
 * @category models
 */
export type LoginEvent =
  | {
      readonly _tag: "NoRefreshToken"
      readonly message: string
      readonly scopes: ReadonlyArray<string>
      readonly parameters: Readonly<Record<string, string>>
    }
  | { readonly _tag: "StrayAnswer" | "FetchedAnswer"; readonly message: string; readonly count: number }

/**
 * What every login with a user takes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Takes the events of the login; they are logged as warnings unless given. */
  readonly onEvent?: ((event: LoginEvent) => Effect.Effect<void>) | undefined
  /**
   * Whether a login without a refresh token is worth a `NoRefreshToken` event. True, except at servers that are known
   * to give tokens that do not expire (GitHub).
   */
  readonly expectsRefreshToken?: boolean | undefined
}

/**
 * Hands an event to the options' `onEvent`, or logs it.
 *
 * @since 0.1.0
 * @category utils
 */
export const report = ({ onEvent }: Options, event: LoginEvent): Effect.Effect<void> =>
  onEvent === undefined ? Effect.logWarning(event.message) : onEvent(event)
