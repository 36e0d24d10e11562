/** The changes of phase that the machine makes, and those that the diagrams show. */
import { Step } from "@latchkey/core/internal-api"
import { readFileSync } from "node:fs"

export const read = (path: string): string =>
  readFileSync(new URL(`../../../../${path}`, import.meta.url), "utf8")

export const drawnIn = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/^ {2}(\w+ --> \w+)$/gm)].map(([, arrow]) => arrow!).sort()

/** The machine that ships. It adds its phases, and their changes, to these sets. */
export const recording =
  (
    { made, phases }: { readonly made: Set<string>; readonly phases: Set<string> },
    needsRefreshToken = true
  ): typeof Step.step =>
  (policy, state, input, now) => {
    const next = Step.step({ ...policy, needsRefreshToken }, state, input, now)
    const [from, to] = [state.phase._tag, next.state.phase._tag]
    phases.add(to)
    if (from !== to) made.add(`${from} --> ${to}`)
    return next
  }
