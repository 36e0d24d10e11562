/**
 * Which scopes a login asks for, and whether another one can help. Pure.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"

/**
 * A set of scopes in the order in which they came.
 *
 * @since 0.1.0
 * @category models
 */
export type Scopes = ReadonlyArray<string>

/**
 * Each scope once, in the order in which they came first.
 *
 * @since 0.1.0
 * @category combinators
 */
export const union = (...all: ReadonlyArray<Scopes>): Scopes => [...new Set(all.flat())]

/**
 * The scopes of `wanted` that are not in `held`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const missing = (wanted: Scopes, held: Scopes): Scopes =>
  wanted.filter((scope) => !held.includes(scope))

/**
 * What is known when a login begins.
 *
 * - `challenged`: the scopes of the server's challenge. `supported`: those of its metadata. `asked`: the program's own.
 * - `before`: what the last login asked for, and what it brought; empty for the first login.
 * - `offline`: whether the authorization server names `offline_access` among its scopes.
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
 * The scopes that a login asks for: those of the challenge, or else all that the server's metadata names, beside what the
 * program asks for and what earlier logins had, so that nobody loses a permission. `offline_access` is added where the
 * authorization server has it, but never alone: the server's own default would be lost.
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
 * - `Ask`: the user is asked for `scopes`, which hold all that the grant has, and the `lacking` ones.
 * - `Refuse`: it cannot. `Granted`: the token has what the server says is missing. `Asked`: the user was asked for it
 *   before, and it was not granted. `Unknown`: the server does not say what is missing.
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
 * What to do about a 403 `insufficient_scope`. `granted` is what the token has, `requested` what its login asked for, and
 * `tried` what this process asked for since without success. Each scope is asked for once: there is no loop.
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
