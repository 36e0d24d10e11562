/**
 * Events that a login reports in addition to its result.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * - `NoRefreshToken`: the login succeeded without a refresh token, so it ends with its access token. Add
 *   `scopes` and `parameters` (of the authorization URL) to the next login to get one. They are present if
 *   known.
 * - `StrayAnswer`: a request to the redirect URI that does not belong to this login was ignored. `count` says
 *   how many there were. Reported for the first, the second, the fourth, and so on.
 * - `FetchedAnswer`: the response of this login was loaded in the background, for example by a browser
 *   extension, and was ignored. It is counted and reported in the same way.
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
 * The options of every login with a user.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Receives the events of the login. Default: they are logged as warnings. */
  readonly onEvent?: ((event: LoginEvent) => Effect.Effect<void>) | undefined
  /**
   * Whether a login without a refresh token causes a `NoRefreshToken` event. Default: true, except at
   * `github.com`, where a setting of the app decides whether tokens expire. Set it to true for an app whose
   * tokens expire.
   */
  readonly expectsRefreshToken?: boolean | undefined
}

/**
 * Passes an event to the options' `onEvent`, or logs it.
 *
 * @since 0.1.0
 * @category utils
 */
export const report = ({ onEvent }: Options, event: LoginEvent): Effect.Effect<void> =>
  onEvent === undefined ? Effect.logWarning(event.message) : onEvent(event)
