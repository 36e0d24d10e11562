/**
 * `procs`: many processes on one rotating grant in one file. Latchkey uses its own file storage. The others
 * have no storage that processes can share. They get what their users write: a file that is read again before
 * a refresh and replaced right after it.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as TokenConfig from "@latchkey/core/TokenConfig"
import * as TokenManager from "@latchkey/core/TokenManager"
import * as RefreshToken from "@latchkey/oauth/RefreshToken"
import * as File from "@latchkey/storage/File"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Bench, Context } from "../Bench.js"
import * as Campaign from "../campaigns/Campaign.js"
import { credentialsOf, sessionOf } from "../candidates/Latchkey.js"
import { type Held, type Peer, type Server, wallClock } from "../Peer.js"
import { exactly, type Goal, row, type Row, type Table } from "../Report.js"

export interface Job {
  readonly candidate: string
  readonly server: Server
  readonly file: string
  /** The directory where ready processes announce themselves, and find how long to call. */
  readonly meeting: string
}

export interface Asked {
  readonly calls: number
  readonly errors: number
}

const ours = "latchkey"

type Get = () => Promise<unknown>

/** Returns the session, and what ends the work that no caller waits for. */
const openOurs = async ({ file, server }: Job): Promise<[get: Get, close: Get]> => {
  const layer = TokenManager.layer().pipe(
    Layer.provide(File.layer({ path: file })),
    Layer.provide(RefreshToken.layer({ server, client: { clientId: server.clientId } })),
    Layer.provide([TokenConfig.layer({ refreshGrace: 0 }), FetchHttpClient.layer])
  )
  const scope = Effect.runSync(Scope.make())
  const context = await Effect.runPromise(Scope.extend(Layer.build(layer), scope))
  const { get } = sessionOf(Effect.runSync(Effect.provide(TokenManager.TokenManager, context)))
  return [get, () => Effect.runPromise(Scope.close(scope, Exit.void))]
}

const read = (file: string): Held => JSON.parse(readFileSync(file, "utf8")) as Held

const write = (file: string, held: Held): void => {
  const beside = `${file}.${process.pid}`
  writeFileSync(beside, JSON.stringify(held), { mode: 0o600 })
  renameSync(beside, file)
}

const openPeer = async (peer: Peer, { file, server }: Job): Promise<Get> => {
  let held = read(file)
  let session = await peer.open(server, held)
  return async () => {
    if (held.expiresAt <= wallClock()) {
      const stored = read(file)
      if (stored.refreshToken !== held.refreshToken) session = await peer.open(server, (held = stored))
    }
    const token = await session.get()
    const after = session.held()
    if (after.refreshToken !== held.refreshToken) write(file, (held = after))
    return token
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Calls every 25 ms, as one of the processes. */
export const ask = async (job: Job, peers: ReadonlyArray<Peer>): Promise<Asked> => {
  const peer = peers.find(({ name }) => name === job.candidate)
  const [get, close] = peer === undefined ? await openOurs(job) : [await openPeer(peer, job)]
  writeFileSync(join(job.meeting, `ready-${process.pid}`), "")
  const go = join(job.meeting, "go")
  while (!existsSync(go)) await pause(20)
  const until = wallClock() + Number(readFileSync(go, "utf8"))
  let calls = 0
  let errors = 0
  while (wallClock() < until) {
    calls++
    await get().catch(() => errors++)
    await pause(25)
  }
  await close?.()
  return { calls, errors }
}

/** Not bound to a server yet, like a grant from elsewhere. */
const store = async (candidate: string, file: string, held: Held): Promise<void> => {
  if (candidate !== ours) return write(file, held)
  await Campaign.store({ kind: "file", location: file, account: ours }, credentialsOf(held))
}

interface Outcome extends Asked {
  readonly requests: number
  readonly refreshes: number
  readonly alive: boolean
}

/** Starts the processes, waits for all, and lets them call for this many milliseconds. */
const meet = async (
  { child, server }: Context,
  candidate: string,
  file: string,
  meeting: string,
  processes: number,
  milliseconds: number
): Promise<Asked> => {
  mkdirSync(meeting)
  const job: Job = { candidate, server, file, meeting }
  const answers = Promise.all(Array.from({ length: processes }, () => child(job)))
  const ready = async (): Promise<void> => {
    while (readdirSync(meeting).length < processes) await pause(50)
  }
  await Promise.race([ready(), answers])
  writeFileSync(`${meeting}.go`, String(milliseconds))
  renameSync(`${meeting}.go`, join(meeting, "go"))
  const asked = (await answers) as ReadonlyArray<Asked>
  const sum = (of: (one: Asked) => number) => asked.reduce((total, one) => total + of(one), 0)
  return { calls: sum((one) => one.calls), errors: sum((one) => one.errors) }
}

const round = (context: Context, candidate: string, processes: number, seconds: number): Promise<Outcome> =>
  Campaign.inDirectory(async (directory) => {
    const file = join(directory, "credentials.json")
    const first = { accessToken: "first", refreshToken: await context.login(), expiresAt: wallClock() - 1 }
    await store(candidate, file, first)
    const before = await context.figures()
    const crowd = await meet(context, candidate, file, join(directory, "all"), processes, seconds * 1000)
    const after = await context.figures()
    const last = await meet(context, candidate, file, join(directory, "one"), 1, 3000)
    return {
      ...crowd,
      requests: after.requests - before.requests,
      refreshes: after.answered - before.answered,
      alive: last.errors < last.calls
    }
  })

export const procs: Bench = async (context) => {
  const peers = context.peers.filter(({ only }) => only === undefined)
  const names = [ours, ...peers.map(({ name }) => name)].slice(0, context.small ? 2 : undefined)
  const seconds = context.small ? 3 : 6
  const tables: Array<Table> = []
  const goals: Array<Goal> = []
  for (const processes of context.small ? [3] : [8, 32]) {
    const rows: Array<Row> = []
    for (const name of names) {
      const { alive, calls, errors, refreshes, requests } = await round(context, name, processes, seconds)
      const grant = alive ? "alive" : "lost"
      rows.push(
        row(name, exactly(requests), rows[0]?.value.median ?? requests, { refreshes, calls, errors, grant })
      )
      if (name !== ours) continue
      goals.push({
        row: `${processes} processes on one rotating grant`,
        against: "the number of expiries",
        limits: [
          { what: "requests too many", atMost: 0, found: requests - refreshes },
          { what: "grants lost", atMost: 0, found: alive && refreshes > 0 ? 0 : 1 }
        ]
      })
    }
    tables.push({
      title: `${processes} processes on one grant, ${seconds} s of tokens of 2 s`,
      unit: "requests",
      rows
    })
  }
  return { tables, goals }
}
