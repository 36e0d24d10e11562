/** All benches, by name. */
import type { Bench } from "../Bench.js"
import { command } from "./Command.js"
import { herd } from "./Herd.js"
import { hot } from "./Hot.js"
import { load } from "./Load.js"
import { procs } from "./Procs.js"
import { distance, refresh } from "./Refresh.js"

interface Spec {
  readonly run: Bench
  /** How long the tokens of the authorization server live, in seconds. */
  readonly accessTokenTtl: number
  /** The additional delay of its responses, in milliseconds. Default: none. */
  readonly answersAfter?: number
}

export const benches: Readonly<Record<string, Spec>> = {
  hot: { run: hot, accessTokenTtl: 3600 },
  // Shorter than the early renewal of those that have one: always due.
  herd: { run: herd, accessTokenTtl: 60 },
  procs: { run: procs, accessTokenTtl: 2 },
  refresh: { run: refresh, accessTokenTtl: 3600, answersAfter: distance },
  command: { run: command, accessTokenTtl: 60 },
  load: { run: load, accessTokenTtl: 60 }
}
