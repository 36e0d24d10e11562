/**
 * Decides which scopes a login requests, and whether a step-up can help. Pure.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"

/**
 * Scopes, in order.
 *
 * @since 0.1.0
 * @category models
 */
export type Scopes = ReadonlyArray<string>

/**
 * Returns each scope once, in the order of first appearance.
 *
 * @since 0.1.0
 * @category combinators
 */
export const union = (...all: ReadonlyArray<Scopes>): Scopes => [...new Set(all.flat())]

/**
 * Returns the scopes of `wanted` that are not in `held`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const missing = (wanted: Scopes, held: Scopes): Scopes =>
  wanted.filter((scope) => !held.includes(scope))

/**
 * The input of {@link forLogin}.
 *
 * - `challenged`: the scopes in the server's challenge.
 * - `supported`: the scopes in the server's metadata.
 * - `asked`: the scopes that the program requests.
 * - `before`: the scopes that the last login requested. Empty for the first login.
 * - `offline`: whether the authorization server supports the scope `offline_access`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Known {
  readonly challenged: Option.Option<Scopes>
  readonly supported: Option.Option<Scopes>
  readonly asked: Scopes
  readonly before: Scopes
  readonly offline: boolean
}

/**
 * Returns the scopes that a login requests: those of the program and of the last login, so that no permission is lost,
 * and those of the challenge. If all of these are empty, the scopes in the server's metadata.
 *
 * Adds `offline_access` if the authorization server supports it, but never alone: that would replace the server's
 * default scopes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forLogin = ({ asked, before, challenged, offline, supported }: Known): Scopes => {
  const chosen = union(asked, before)
  const base = Option.match(challenged, {
    onSome: (scopes) => union(chosen, scopes),
    onNone: () => (chosen.length > 0 ? chosen : Option.getOrElse(supported, (): Scopes => []))
  })
  return offline && base.length > 0 ? union(base, ["offline_access"]) : union(base)
}

/**
 * Whether a step-up can help.
 *
 * - `Ask`: ask the user for `scopes`, which are the scopes of the grant and the `lacking` ones.
 * - `Refuse`: a step-up cannot help. `Granted`: the token already has the scopes. `Asked`: the user was asked before and
 *   did not grant them. `Unknown`: the server does not name the missing scopes.
 *
 * @since 0.1.0
 * @category models
 */
export type StepUp = Data.TaggedEnum<{
  Ask: { readonly scopes: Scopes; readonly lacking: Scopes }
  Refuse: { readonly why: "Granted" | "Asked" | "Unknown" }
}>

const { Ask, Refuse } = Data.taggedEnum<StepUp>()

/**
 * Decides about a 403 `insufficient_scope`. `granted` are the scopes of the token, `requested` those that its login
 * requested, and `tried` those that this process has requested since without success. Each scope is requested once, so
 * there is no loop.
 *
 * @since 0.1.0
 * @category constructors
 */
export const stepUp = (known: {
  readonly challenged: Option.Option<Scopes>
  readonly supported: Option.Option<Scopes>
  readonly granted: Scopes
  readonly requested: Scopes
  readonly tried: ReadonlySet<string>
}): StepUp => {
  const { granted, requested, tried } = known
  const wanted = Option.orElse(known.challenged, () => known.supported)
  if (Option.isNone(wanted)) return Refuse({ why: "Unknown" })
  const lacking = missing(wanted.value, granted)
  if (lacking.length === 0) return Refuse({ why: Option.isSome(known.challenged) ? "Granted" : "Unknown" })
  if (lacking.every((scope) => tried.has(scope))) return Refuse({ why: "Asked" })
  return Ask({ scopes: union(requested, granted, wanted.value), lacking })
}
