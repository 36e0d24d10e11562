/** How many refreshes worked and failed in each minute of the last hour. Pure. */

export interface Minute {
  /** Minutes since the epoch. */
  readonly minute: number
  readonly refreshed: number
  readonly failed: number
}

/** The minutes with something in them, the oldest first. */
export type Activity = ReadonlyArray<Minute>

const length = 60

const minuteOf = (at: number): number => Math.floor(at / 60_000)

/** Adds a refresh at `at`, in epoch milliseconds. A clock that was set back adds to the newest minute. */
export const note = (activity: Activity, at: number, outcome: "refreshed" | "failed"): Activity => {
  const last = activity.at(-1)
  const minute = Math.max(minuteOf(at), last?.minute ?? -Infinity)
  const before = last?.minute === minute ? activity.slice(0, -1) : activity
  const counted = last?.minute === minute ? last : { minute, refreshed: 0, failed: 0 }
  const kept = before.filter((one) => one.minute > minute - length)
  return [...kept, { ...counted, [outcome]: counted[outcome] + 1 }]
}

/** The sixty minutes up to now, the oldest first, also those in which nothing happened. */
export const lastHour = (activity: Activity, now: number): Activity => {
  const end = minuteOf(now)
  const known = new Map(activity.map((one) => [one.minute, one]))
  return Array.from({ length }, (_, i) => {
    const minute = end - length + 1 + i
    return known.get(minute) ?? { minute, refreshed: 0, failed: 0 }
  })
}
