/**
 * `lease`: holders are killed, or stopped beyond their lease, while others contend for it (invariant 6).
 * There are never two owners and no stale commits. It measures the time to take over.
 */
import * as Campaign from "./Campaign.js"
import type { Open } from "./Opener.js"

interface Taken {
  readonly contender: number
  readonly fence: number
  readonly at: number
  readonly overlapped: boolean
}

const median = (sorted: ReadonlyArray<number>): number => sorted[Math.floor(sorted.length / 2)] ?? 0

export const run = async (
  open: Open,
  options: { readonly killed: number; readonly stopped: number; readonly contenders: number }
): Promise<Campaign.Figures> => {
  const program = await Campaign.bundle("campaign-child")
  const broken: Array<string> = []
  const takeovers: Array<number> = []
  let refused = 0
  const began = performance.now()
  await Campaign.inDirectory(async (directory) => {
    const backend = await open(directory)
    const contenders = Array.from({ length: options.contenders }, (_, contender) =>
      Campaign.start(program, { do: "contend", backend, contender, marker: `${directory}/inside` })
    )
    for (const contender of contenders) await contender.line()
    let lastFence = 0
    for (let round = 0; round < options.killed; round++) {
      const holder = Campaign.start(program, { do: "hold", backend, ttl: 3_600_000 })
      const held = (await holder.line()) as { readonly fence: number }
      if (!(held.fence > lastFence)) broken.push(`round ${round}: the fence fell to ${held.fence}`)
      for (const contender of contenders) contender.tell("contend")
      await Campaign.pause(5)
      const killedAt = Campaign.wallClock()
      await holder.end()
      const answers = contenders.map((c) => c.line() as Promise<Taken | "stopped">)
      const first = await Promise.race(answers)
      for (const contender of contenders) contender.tell("stop")
      const taken = (await Promise.all(answers)).filter((a) => a !== "stopped")
      if (first === "stopped") broken.push(`round ${round}: a contender gave up`)
      else takeovers.push(Math.round(first.at - killedAt))
      lastFence = Math.max(...taken.map((t) => t.fence))
      if (taken.some((t) => t.at < killedAt)) broken.push(`round ${round}: taken while its holder lived`)
      if (taken.some((t) => t.overlapped)) broken.push(`round ${round}: two owners at once`)
      if (new Set(taken.map((t) => t.fence)).size !== taken.length) {
        broken.push(`round ${round}: a fence was given twice`)
      }
    }
    for (const contender of contenders) await contender.end()
  })
  await Campaign.inParallel(options.stopped, 8, () =>
    Campaign.inDirectory(async (directory) => {
      const backend = await open(directory)
      const holder = Campaign.start(program, { do: "hold", backend, ttl: 400 })
      await holder.line()
      holder.kill("SIGSTOP")
      const heir = Campaign.start(program, { do: "inherit", backend })
      const inherited = (await heir.line()) as { readonly generation: number }
      holder.kill("SIGCONT")
      holder.tell("commit")
      const late = await holder.line()
      if (late === "refused") refused++
      else broken.push(`a stopped holder's late commit: ${JSON.stringify(late)}`)
      heir.tell("look")
      const after = (await heir.line()) as { readonly generation: number }
      if (after.generation !== inherited.generation) broken.push("what the heir wrote was written over")
      await Promise.all([holder.end(), heir.end()])
    })
  )
  takeovers.sort((a, b) => a - b)
  const slowest = takeovers.at(-1) ?? 0
  if (slowest > 1000) broken.push(`a takeover took ${slowest} ms`)
  return {
    deadHolders: takeovers.length,
    contenders: options.contenders,
    takeoverMillis: { median: median(takeovers), most: slowest },
    stoppedHolders: options.stopped,
    lateCommitsRefused: refused,
    seconds: Campaign.secondsSince(began),
    broken: broken.slice(0, 20)
  }
}
