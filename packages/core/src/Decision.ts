/**
 * What a manager does about a token, and why, with the pure predicates behind it. `now` is an argument. Times
 * are epoch milliseconds.
 *
 * @since 0.1.0
 */
export {
  $is,
  $match,
  CoolDown,
  type Decision,
  type DueReason,
  type Policy,
  Reauthorize,
  type ReauthorizeReason,
  Refresh,
  Refuse,
  Reload,
  TooShortLived,
  Use,
  UseAndRefresh,
  type UseReason
} from "./grant/Decision.js"
export type { CoolingDown } from "./grant/BackOff.js"
export { describe } from "./grant/Describe.js"
export {
  clampedGrace,
  isExpired,
  noWitness,
  shouldRefresh,
  timeToExpiry,
  wholeSeconds,
  type Witness
} from "./grant/Expiry.js"
