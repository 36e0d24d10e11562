/**
 * Whether an account began to need its user, or recovered. Pure.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import { sha256 } from "./Fingerprint.js"

/**
 * - `NeedsLogin`: the server ended the account's grant. Only its user can log in again.
 * - `Recovered`: a grant that is alive replaced it.
 *
 * The `id` is the same in every process that reports the same thing. `at` is epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type AccountNotice = Data.TaggedEnum<{
  NeedsLogin: { readonly id: string; readonly account: string; readonly at: number }
  Recovered: { readonly id: string; readonly account: string; readonly at: number }
}>

/**
 * @since 0.1.0
 * @category constructors
 */
export const { NeedsLogin, Recovered, $match, $is } = Data.taggedEnum<AccountNotice>()

/**
 * The accounts that are known to need their user, with the fingerprint of the grant that ended.
 *
 * @since 0.1.0
 * @category models
 */
export type Known = HashMap.HashMap<string, string>

/**
 * @since 0.1.0
 * @category constructors
 */
export const none: Known = HashMap.empty()

/**
 * What is stored for an account, or reported by an event: the grant by its fingerprint, and whether it ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface Found {
  readonly grant: string
  readonly dead: boolean
}

/**
 * Returns what is known after an account was looked at, and the notice to send. `found` is none if the account
 * has no grant: then nobody waits for it any more, and there is no notice.
 *
 * A grant that ended is reported once. It has recovered when another grant is stored that is alive. The same
 * grant without its mark is no recovery: the mark may not be stored yet.
 *
 * @since 0.1.0
 * @category decisions
 */
export const observe = (
  known: Known,
  account: string,
  found: Option.Option<Found>,
  at: number
): readonly [Known, Option.Option<AccountNotice>] => {
  const ended = HashMap.get(known, account)
  if (Option.isNone(found)) return [HashMap.remove(known, account), Option.none()]
  const { dead, grant } = found.value
  const isSame = Option.contains(ended, grant)
  if (dead) {
    const notice = NeedsLogin({ id: idOf("NeedsLogin", account, grant), account, at })
    return [HashMap.set(known, account, grant), isSame ? Option.none() : Option.some(notice)]
  }
  if (Option.isNone(ended) || isSame) return [known, Option.none()]
  const notice = Recovered({ id: idOf("Recovered", account, ended.value), account, at })
  return [HashMap.remove(known, account), Option.some(notice)]
}

const idOf = (tag: AccountNotice["_tag"], account: string, grant: string): string =>
  sha256(new TextEncoder().encode(`latchkey notice\0${tag}\0${grant}\0${account}`)).slice(0, 32)
