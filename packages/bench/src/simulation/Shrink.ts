/** Makes a history that breaks an invariant as small as it can be and still break it. */
import { run } from "./History.js"
import { keep, type Plan, size } from "./Plan.js"

/** The numbers of the things that it takes. */
export const shrink = (plan: Plan, code: string): ReadonlyArray<number> => {
  const fails = (numbers: ReadonlyArray<number>): boolean =>
    run(keep(plan, new Set(numbers))).broken.some((broken) => broken.code === code)
  let kept: ReadonlyArray<number> = Array.from({ length: size(plan) }, (_, i) => i)
  for (let chunk = Math.ceil(kept.length / 2); chunk >= 1; chunk = chunk === 1 ? 0 : Math.ceil(chunk / 2)) {
    for (let again = true; again;) {
      again = false
      for (let from = 0; from < kept.length;) {
        const fewer = kept.filter((_, i) => i < from || i >= from + chunk)
        if (fails(fewer)) {
          kept = fewer
          again = chunk === 1
        } else from += chunk
      }
    }
  }
  return kept
}
