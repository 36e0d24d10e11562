/** The spaces that are searched: in every run of CI, and whole. */
import type { Server, Space } from "./World.js"

const plain: Space = {
  server: "strict",
  processes: 2,
  faults: 0,
  asks: 1,
  forced: false,
  deeds: 0,
  ticks: 0,
  skew: 0,
  token: "expired"
}

const servers: ReadonlyArray<Server> = ["strict", "window", "same pair", "reusable"]
const hours = 3_600_000

const each = (more: Partial<Space>): ReadonlyArray<Space> =>
  servers.map((server) => ({ ...plain, ...more, server }))

/** A few seconds, for the tests. */
export const small: ReadonlyArray<Space> = [
  ...each({ faults: 1 }),
  ...each({ deeds: 1 }),
  { ...plain, forced: true, token: "in grace", deeds: 1 },
  { ...plain, skew: 2 * hours, ticks: 1 }
]

/** Less than three minutes. */
export const usual: ReadonlyArray<Space> = [
  ...each({ faults: 3 }),
  ...each({ faults: 1, deeds: 1 }),
  ...each({ faults: 1, ticks: 1 }),
  ...each({ forced: true, token: "in grace", faults: 1 }),
  { ...plain, faults: 1, asks: 2 },
  { ...plain, faults: 1, ticks: 1, skew: 2 * hours },
  { ...plain, faults: 1, ticks: 1, skew: -2 * hours },
  { ...plain, processes: 3, faults: 1 },
  { ...plain, processes: 3, faults: 1, server: "window" }
]

/** All that a machine of its own has time for. */
export const whole: ReadonlyArray<Space> = [
  ...each({ faults: 3, ticks: 1 }),
  ...each({ faults: 2, deeds: 2 }),
  ...each({ faults: 2, deeds: 1, forced: true, token: "in grace" }),
  ...each({ faults: 2, asks: 2 }),
  ...each({ faults: 2, ticks: 1, skew: 2 * hours }),
  ...each({ faults: 2, ticks: 1, skew: -2 * hours }),
  ...each({ processes: 3, faults: 2 })
]
