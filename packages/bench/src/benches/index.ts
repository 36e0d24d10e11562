/** All benches, by name. */
import type { Bench } from "../Bench.js"
import { cold, distance, distant } from "./Cold.js"
import { growth } from "./Growth.js"
import { herd } from "./Herd.js"
import { hot } from "./Hot.js"
import { load } from "./Load.js"
import { memory } from "./Memory.js"
import { procs } from "./Procs.js"
import { storage } from "./Storage.js"

interface Spec {
  readonly run: Bench
  /** How long the tokens of the authorization server live, in seconds. */
  readonly accessTokenTtl: number
  /** The additional delay of its responses, in milliseconds. Default: none. */
  readonly answersAfter?: number
}

export const benches: Readonly<Record<string, Spec>> = {
  hot: { run: hot, accessTokenTtl: 3600 },
  cold: { run: cold, accessTokenTtl: 3600 },
  distant: { run: distant, accessTokenTtl: 3600, answersAfter: distance },
  // Shorter than the early renewal of those that have one: always due.
  herd: { run: herd, accessTokenTtl: 60 },
  procs: { run: procs, accessTokenTtl: 2 },
  memory: { run: memory, accessTokenTtl: 60 },
  load: { run: load, accessTokenTtl: 60 },
  storage: { run: storage, accessTokenTtl: 60 },
  growth: { run: growth, accessTokenTtl: 60 }
}
