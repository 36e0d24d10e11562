/** The spaces to search: for the tests, for every run of CI, and in full. */
import type { Server, Space } from "./World.js"

const plain: Space = {
  server: "strict",
  processes: 2,
  faults: 0,
  callers: 1,
  forced: false,
  actions: 0,
  ticks: 0,
  skew: 0,
  token: "expired"
}

const hours = 3_600_000
const servers: ReadonlyArray<Server> = ["strict", "window", "same pair", "reusable"]

const of = (...more: ReadonlyArray<Partial<Space>>): ReadonlyArray<Space> =>
  more.map((one) => ({ ...plain, ...one }))

const atEach = (more: Partial<Space>): ReadonlyArray<Space> =>
  of(...servers.map((server) => ({ ...more, server })))

const forced = { forced: true, token: "in grace" } as const

/** A few seconds: all kinds of moves, one or two at a time. */
export const small: ReadonlyArray<Space> = [
  ...atEach({ faults: 1 }),
  ...atEach({ actions: 1 }),
  ...of(
    { faults: 2 },
    { ...forced, faults: 1 },
    { ...forced, actions: 1, server: "window" },
    { callers: 2, token: "in grace" },
    { processes: 1, faults: 1, callers: 2, ticks: 1, token: "in grace" },
    { ticks: 1, skew: 2 * hours },
    { processes: 1, faults: 2, ticks: 1 },
    { processes: 1, faults: 2, ticks: 1, server: "window" },
    { processes: 1, faults: 2, actions: 1 }
  )
]

/** Less than three minutes on two cores. */
export const usual: ReadonlyArray<Space> = [
  // The largest first: each core takes the next one.
  ...of({ processes: 3, faults: 2 }),
  ...atEach({ faults: 3 }),
  ...atEach({ faults: 1, actions: 1 }),
  ...atEach({ ...forced, faults: 1 }),
  ...of(
    { faults: 1, ticks: 1 },
    { faults: 1, ticks: 1, server: "window" },
    { ...forced, actions: 1, server: "same pair" },
    { ...forced, actions: 1, server: "reusable" },
    { actions: 2 },
    { faults: 1, callers: 2 },
    { faults: 1, skew: 2 * hours },
    { faults: 1, skew: -2 * hours, server: "window" },
    { ticks: 1, skew: 2 * hours, server: "same pair" },
    { processes: 1, faults: 1, ticks: 2 },
    { processes: 1, faults: 2, ticks: 1, server: "window" }
  )
]

/** For a dedicated machine. */
export const whole: ReadonlyArray<Space> = [
  ...usual,
  ...of(
    { processes: 3, faults: 2, server: "window" },
    { processes: 3, faults: 2, server: "same pair" },
    { processes: 3, faults: 2, server: "reusable" }
  ),
  ...atEach({ processes: 1, faults: 2, ticks: 2 }),
  ...atEach({ faults: 2, actions: 1 }),
  ...atEach({ faults: 2, ticks: 1 }),
  ...atEach({ ...forced, faults: 1, actions: 1 }),
  ...atEach({ faults: 1, ticks: 1, skew: 2 * hours }),
  ...atEach({ faults: 1, ticks: 1, skew: -2 * hours }),
  ...atEach({ faults: 1, actions: 1, ticks: 1 }),
  ...atEach({ faults: 2, callers: 2 }),
  ...atEach({ faults: 4 })
]
