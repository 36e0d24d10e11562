/** A history as data, before it runs: the setting, and the actions with their times. */
import { Fault, Rotation } from "@latchkey/oauth/testing"
import * as FC from "effect/FastCheck"

const second = 1000
const minute = 60 * second
/** A window that no history outlives. */
const forEver = 1000 * 24 * 60 * minute

const oneOf = <const A extends ReadonlyArray<unknown>>(...choices: A): FC.Arbitrary<A[number]> =>
  FC.constantFrom(...choices)

/** The faults of some requests. */
export const networkFaults = {
  "lost answer": Fault.lostAnswer,
  "lost request": Fault.lostRequest,
  silence: Fault.silence(),
  refused: Fault.refused,
  "no tokens": Fault.html(true),
  "no access token": Fault.without("access_token"),
  "503": Fault.status(503, { error: "temporarily_unavailable" }),
  "429": Fault.tooManyRequests("5 seconds"),
  invalid_client: Fault.status(401, { error: "invalid_client" })
}
type NetworkFault = keyof typeof networkFaults

/** The faults of some reads and writes. `after`: it took effect, and only the result is lost. */
type StorageFault = "load before" | "commit before" | "commit after"

/** A caller's request to a manager. */
const ask = FC.oneof(
  { weight: 6, arbitrary: FC.record({ is: oneOf("get") }) },
  {
    weight: 1,
    arbitrary: FC.record({ is: oneOf("for"), minValidity: oneOf(second, 30 * second) })
  },
  {
    weight: 4,
    arbitrary: FC.record({ is: oneOf("refresh", "reject", "status", "explain", "invalidate") })
  }
)
export type Ask = typeof ask extends FC.Arbitrary<infer A> ? A : never

const process = FC.nat(2)
const account = FC.nat(2)
const interruptAfter = FC.option(oneOf(0, 5, 100, second, 5 * second), { nil: undefined, freq: 3 })

/** `close`: the scope of a process closes, and a new process follows. The user may also end the grant. */
const deed = FC.oneof(
  { weight: 12, arbitrary: FC.record({ is: oneOf("ask"), process, account, ask, interruptAfter }) },
  { weight: 2, arbitrary: FC.record({ is: oneOf("close"), process }) },
  {
    weight: 1,
    arbitrary: FC.record({ is: oneOf("login", "login", "clear", "revoke"), process, account })
  }
)
export type Deed = typeof deed extends FC.Arbitrary<infer A> ? A : never

/** Actions at about one time: this long after the named moment in the life of the newest token. */
const round = FC.record({
  from: oneOf("now", "due", "due", "expiry", "expiry"),
  offset: oneOf(-200, 0, 0, 0, 100, 5 * second, 30 * second, 10 * minute),
  deeds: FC.array(FC.record({ after: oneOf(0, 0, 5, 40, 400, 3 * second), deed }), {
    minLength: 1,
    maxLength: 8
  })
})

/** What does not change within one history. Durations are milliseconds. */
const setting = FC.record({
  seed: FC.nat(),
  processes: FC.integer({ min: 1, max: 3 }),
  accounts: FC.integer({ min: 1, max: 3 }),
  rotation: oneOf<ReadonlyArray<Rotation.Rotation>>(
    Rotation.reusable,
    Rotation.strict("Revoke"),
    Rotation.strict("Refuse"),
    Rotation.newPair(2 * minute, "Revoke"),
    Rotation.newPair(forEver, "Revoke"),
    Rotation.samePair(2 * minute, "Refuse"),
    Rotation.samePair(forEver, "Revoke"),
    Rotation.predecessorValid("Revoke")
  ),
  lifetime: oneOf(20 * second, minute, 10 * minute, 60 * minute),
  /** The longest duration of storage, and of each direction to the server, without faults. */
  storageLatency: oneOf(0, 5, 50, 400),
  networkLatency: oneOf(1, 20, 300, 2 * second),
  network: FC.subarray(Object.keys(networkFaults) as Array<NetworkFault>, { maxLength: 4 }),
  storage: FC.subarray<StorageFault>(["load before", "commit before", "commit after"]),
  /** No faults. */
  isCalm: FC.boolean(),
  config: FC.record({
    credentialsTtl: oneOf(0, second, 30 * second, 5 * minute),
    refreshGrace: oneOf(0, 5 * second, 2 * minute),
    refreshMode: oneOf("wait", "wait", "background"),
    patience: oneOf(second, 10 * second),
    refreshTimeout: oneOf(5 * second, 30 * second),
    leaseTtl: oneOf(32 * second, 60 * second),
    coolDownBase: oneOf(200, second),
    coolDownMax: oneOf(2 * second, 20 * second)
  })
})

export const plan = FC.record({ setting, rounds: FC.array(round, { minLength: 2, maxLength: 8 }) })
export type Plan = typeof plan extends FC.Arbitrary<infer A> ? A : never
