/** Draws a history from a seed. */
import { Rotation } from "@latchkey/oauth/testing"
import { Draw } from "./Draw.js"
import {
  type Ask,
  type Deed,
  type Fault,
  type Mishap,
  type Plan,
  type Round,
  type Setting,
  type Step,
  weathers
} from "./Plan.js"

const second = 1000
const minute = 60 * second

/** A window that no history outlives. */
const forEver = 1000 * 24 * 60 * minute

/** Of one kind of weather only, where that is given. */
export const generate = (seed: number, only?: Setting["weather"]): Plan => {
  const draw = new Draw(seed)
  const setting = drawSetting(draw, only)
  const slots = setting.machines.length
  return {
    seed,
    setting,
    rounds: draw.list(2, 6, (i) => drawRound(draw, setting, i === 0)),
    faults: setting.weather === "calm" ? [] : draw.list(2, 9, () => drawFault(draw, setting, slots))
  }
}

const drawSetting = (draw: Draw, only: Setting["weather"] | undefined): Setting => {
  const drawn = draw.of(weathers)
  const weather = only ?? drawn
  const lifetime = draw.of([
    2 * second,
    20 * second,
    minute,
    minute,
    10 * minute,
    60 * minute,
    24 * 60 * minute
  ])
  const onReuse = draw.of(["Revoke", "Revoke", "Refuse"] as const)
  const window = draw.of([20 * second, 2 * minute, forEver, forEver])
  const refreshTimeout = draw.of([5 * second, 10 * second, 30 * second])
  const machines = draw.of([[0], [0, 0], [0, 1], [0, 1], [0, 0, 1], [0, 1, 2]])
  const { latency, ...aims } = drawAims(draw, weather)
  const wrong = () => (weather === "clock" && draw.chance(0.5) ? draw.between(-2 * minute, 2 * minute) : 0)
  return {
    weather,
    rotation: draw.of([
      Rotation.reusable,
      Rotation.strict(onReuse),
      Rotation.strict(onReuse),
      Rotation.newPair(window, onReuse),
      Rotation.samePair(window, onReuse),
      Rotation.predecessorValid(onReuse)
    ]),
    machines,
    offsets: [wrong(), wrong(), wrong()],
    lifetime,
    latency: {
      storage: draw.of([0, 5, 50, 400]),
      lease: draw.of([0, 5, 50, 400]),
      network: latency ?? draw.of([1, 20, 300, 900])
    },
    changes: draw.chance(0.5),
    fencesGranted: draw.chance(0.7),
    downtime: draw.of([0, second, 20 * second, 3 * minute]),
    config: {
      credentialsTtl: draw.of([0, second, 30 * second, 5 * minute]),
      refreshGrace: draw.of([0, 5 * second, 20 * second, 2 * minute]),
      refreshMode: draw.of(["wait", "wait", "background"] as const),
      patience: draw.of([second, 10 * second]),
      refreshTimeout,
      leaseTtl: refreshTimeout + draw.of([2 * second, 5 * second, 30 * second]),
      leaseWait: draw.of([weather === "calm" ? 45 * second : 2 * second, 45 * second]),
      coolDownBase: draw.of([200, second]),
      coolDownMax: draw.of([2 * second, 20 * second])
    },
    ...aims
  }
}

/** What the kinds of weather that aim at one thing do not leave to chance. */
const drawAims = (
  draw: Draw,
  weather: Setting["weather"]
): Partial<Pick<Setting, "rotation" | "lifetime" | "machines">> & { readonly latency?: number } => {
  switch (weather) {
    case "lost": {
      const window = draw.of([20 * second, 2 * minute])
      return {
        lifetime: draw.of([10 * minute, 60 * minute]),
        rotation: draw.of([
          Rotation.strict("Refuse"),
          Rotation.newPair(window, "Refuse"),
          Rotation.samePair(window, "Refuse")
        ])
      }
    }
    case "rivals":
      return {
        lifetime: draw.of([minute, 10 * minute]),
        machines: draw.of([
          [0, 0],
          [0, 1]
        ]),
        rotation: draw.of([
          Rotation.strict("Refuse"),
          Rotation.newPair(forEver, "Refuse"),
          Rotation.predecessorValid("Refuse")
        ])
      }
    case "users":
      return { lifetime: draw.of([20 * second, minute]), latency: draw.of([900, 3 * second]) }
    default:
      return {}
  }
}

const drawRound = (draw: Draw, setting: Setting, isFirst: boolean): Round => {
  const { config, lifetime, weather } = setting
  const deeds = (together: number) =>
    draw.list(1, 7, () => ({ after: draw.between(0, together), deed: drawDeed(draw, setting) }))
  switch (weather) {
    case "lost":
    case "busy":
      return {
        from: isFirst ? "due" : draw.of(["now", "now", "due"] as const),
        offset: isFirst ? 0 : draw.of([0, 2 * second, 8 * second, 30 * second, 3 * minute]),
        deeds: deeds(draw.of([50, 500, 5 * second]))
      }
    case "rivals":
      return {
        from: draw.of(["due", "expiry"] as const),
        offset: 0,
        deeds: deeds(draw.of([500, 5 * second, config.leaseTtl * 2]))
      }
    case "users":
      return {
        from: draw.of(["due", "expiry"] as const),
        offset: 0,
        deeds: deeds(draw.of([50, 500, 3 * second]))
      }
  }
  const together = draw.of([0, 5, 50, 500, 5 * second])
  return {
    from: draw.of(["now", "due", "due", "expiry", "expiry"] as const),
    offset: draw.of([-200, 0, 0, 0, 100, draw.between(0, 10 * second), draw.between(0, lifetime)]),
    deeds: deeds(together)
  }
}

const drawDeed = (draw: Draw, setting: Setting): Deed => {
  const { weather } = setting
  const slot = draw.below(setting.machines.length)
  const stormy = (...kinds: ReadonlyArray<Setting["weather"]>) => weather === "all" || kinds.includes(weather)
  if (stormy("crash") && draw.chance(0.08)) return { is: draw.of(["kill", "kill", "close"] as const), slot }
  if (stormy("freeze") && draw.chance(0.1)) return { is: "freeze", slot, millis: drawStop(draw, setting) }
  if (stormy("clock") && draw.chance(0.12)) {
    return { is: "jump", machine: setting.machines[slot]!, millis: drawJump(draw) }
  }
  if (weather === "users" && draw.chance(0.5)) {
    return draw.of<Deed>([
      { is: "close", slot },
      { is: "close", slot },
      { is: "login", slot },
      { is: "clear", slot },
      { is: "ask", slot, ask: { is: "invalidate" } },
      { is: "ask", slot, ask: { is: "invalidate" } },
      { is: "ask", slot, ask: { is: "invalidate" } }
    ])
  }
  if (weather !== "calm" && weather !== "lost" && draw.chance(0.03)) {
    return draw.of<Deed>([
      { is: "revoke" },
      { is: "clear", slot },
      { is: "login", slot },
      { is: "login", slot }
    ])
  }
  const ask = drawAsk(draw, setting)
  return weather !== "calm" && draw.chance(0.12)
    ? { is: "ask", slot, ask, interruptAfter: draw.of([0, 5, 100, second, 5 * second]) }
    : { is: "ask", slot, ask }
}

const drawAsk = (draw: Draw, { lifetime, weather }: Setting): Ask => {
  const p = draw.next()
  if (weather === "lost" && p < 0.9) return { is: "get" }
  if (weather === "busy" && p < 0.5) return { is: "refresh" }
  if (p < 0.66) return { is: "get" }
  if (p < 0.74) return { is: "refresh" }
  if (p < 0.82) return { is: "reject" }
  if (p < 0.9)
    return { is: "for", minValidity: draw.of([second, lifetime / 2, lifetime * 0.9, lifetime * 2]) }
  return { is: draw.of(["peek", "status", "explain", "invalidate"] as const) }
}

/** How long a process is stopped: often beyond its lease. */
const drawStop = (draw: Draw, { config }: Setting): number =>
  draw.of([second, config.refreshTimeout + second, config.leaseTtl + second, config.leaseTtl * 3])

const drawJump = (draw: Draw): number =>
  draw.of([1, -1]) * draw.of([second, 30 * second, 10 * minute, 24 * 60 * minute, 400 * 24 * 60 * minute])

const stepsOf = {
  network: ["redeem"],
  crash: ["load", "commit", "commit", "acquire", "isHeld", "renew", "release", "redeem", "redeem", "redeem"],
  freeze: ["load", "commit", "commit", "acquire", "isHeld", "renew", "release", "redeem", "redeem"],
  storage: ["load", "commit", "commit", "commit"],
  lease: ["acquire", "isHeld", "renew", "release"],
  clock: ["redeem"],
  lost: ["redeem"],
  busy: ["redeem"],
  rivals: ["isHeld", "isHeld", "commit", "commit", "redeem"],
  users: ["redeem", "load", "commit"]
} as const satisfies Record<string, ReadonlyArray<Step>>

const drawFault = (draw: Draw, setting: Setting, slots: number): Fault => {
  const { weather } = setting
  const kind =
    weather === "all" || weather === "calm"
      ? draw.of(["network", "crash", "freeze", "storage", "lease"] as const)
      : weather
  const on = draw.of<Step>(stepsOf[kind])
  return {
    slot: draw.below(slots),
    on,
    nth: draw.between(1, on === "load" || on === "commit" ? 8 : 4),
    mishap: drawMishap(draw, setting, kind)
  }
}

const drawMishap = (draw: Draw, setting: Setting, kind: keyof typeof stepsOf): Mishap => {
  const when = draw.of(["before", "after"] as const)
  switch (kind) {
    case "crash":
      return { is: "crash", when }
    case "freeze":
      return { is: "freeze", when, millis: drawStop(draw, setting) }
    case "storage":
    case "lease":
      return draw.chance(0.75)
        ? { is: "fail", when }
        : { is: "slow", when, millis: draw.of([second, 8 * second]) }
    case "lost":
      return draw.of<Mishap>([
        { is: "lost", when: "after" },
        { is: "lost", when: "after" },
        { is: "silence", when: "after" },
        { is: "spoiled", salvage: false }
      ])
    case "busy":
      return { is: "busy", millis: draw.of([second, 10 * second, 2 * minute]) }
    case "rivals":
      return { is: "freeze", when, millis: setting.config.leaseTtl * draw.of([1.1, 2, 3]) }
    case "users":
      return { is: "slow", when, millis: draw.of([second, 3 * second]) }
    case "clock":
    case "network":
      return draw.of<Mishap>([
        { is: "refused" },
        { is: "odd" },
        { is: "busy", millis: draw.of([second, 10 * second, 2 * minute]) },
        { is: "lost", when },
        { is: "lost", when: "after" },
        { is: "silence", when },
        {
          is: "slow",
          when,
          millis: draw.of([second, setting.config.refreshTimeout - second, setting.config.refreshTimeout * 2])
        },
        { is: "spoiled", salvage: true },
        { is: "spoiled", salvage: false }
      ])
  }
}
