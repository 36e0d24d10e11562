/** What a bench is given, and what it answers. */
import type { Held, Peer, Server } from "./Peer.js"
import type { Findings } from "./Report.js"
import type { ServerFigures } from "./Servers.js"

export interface Context {
  /** As small as shows that it works; judges nothing. */
  readonly small: boolean
  readonly peers: ReadonlyArray<Peer>
  /** What is installed beside this program to be measured, by its package name. */
  readonly libraries: ReadonlyArray<string>
  /** The directory of this repository's packages, built. */
  readonly packages: string
  /** The limit of what can be measured: a field is read and the clock compared, `n` times. */
  readonly fieldRead: (held: Held) => (n: number) => void
  /** Where results go that must not be optimised away. */
  readonly keep: (value: unknown) => void
  /** A real authorization server in another process. */
  readonly server: Server
  /** A new grant: its refresh token. */
  readonly login: () => Promise<string>
  readonly figures: () => Promise<ServerFigures>
  /** This program in a process of its own with another job; its answer. */
  readonly child: (job: object, flags?: ReadonlyArray<string>) => Promise<unknown>
}

export type Bench = (context: Context) => Promise<Findings>
