/** The input and the result of a bench. */
import type { Peer, Server } from "./Peer.js"
import type { Findings } from "./Report.js"
import type { ServerFigures } from "./Servers.js"

export interface Context {
  /** The smallest run that shows that it works. It judges nothing. */
  readonly small: boolean
  readonly peers: ReadonlyArray<Peer>
  /** The directory of this repository's packages, built. */
  readonly packages: string
  /** A real authorization server in another process. */
  readonly server: Server
  /** Creates a grant and returns its refresh token. */
  readonly login: () => Promise<string>
  readonly figures: () => Promise<ServerFigures>
  /** Runs this program in a separate process with another job. Returns its result. */
  readonly child: (job: object) => Promise<unknown>
}

export type Bench = (context: Context) => Promise<Findings>
