/** A policy for tests of the machine alone. */
import { RotationPolicy } from "@latchkey/core"
import { Option } from "effect"
import type * as State from "../../src/grant/State.js"
import { minute } from "./Bench.js"

export const policy: State.Policy = {
  grace: 0,
  credentialsTtl: 30_000,
  coolDownBase: 1000,
  coolDownMax: 5 * minute,
  refreshTimeout: 30_000,
  leaseWait: 40_000,
  mode: "wait",
  jitter: 0,
  rotation: RotationPolicy.rotating("30 seconds"),
  needsRefreshToken: true,
  identityOf: () => Option.none(),
  formerly: [],
  serverAhead: 0,
  jitterShare: 0,
  uptime: 0,
  reportsChanges: true
}
