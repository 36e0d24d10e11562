/** Breadth-first search of a space: every history, the shortest first. */
import { brokenAtRest, brokenIn, isAtRest } from "./Invariants.js"
import * as Key from "./Key.js"
import { begin, movesOf, type Space, type World } from "./World.js"

export interface Found {
  readonly states: number
  readonly edges: number
  readonly rests: number
  readonly depth: number
  readonly seconds: number
  /** The shortest history that breaks an invariant: what broke, and what happened before, step by step. */
  readonly broken: { readonly what: string; readonly history: ReadonlyArray<string> } | undefined
}

/** Searches all of it, or up to `limit` states. */
export const search = (space: Space, limit = Infinity): Found => {
  const began = performance.now()
  Key.clear()
  const seen = new Map<string, number>()
  const parents: Array<number> = []
  const texts: Array<string> = []
  const progress: Array<boolean> = []
  let frontier: Array<readonly [World, number]> = []
  let edges = 0
  let rests = 0
  let depth = 0
  let next: Array<readonly [World, number]> = []
  /** For the search of dead ends: who leads where without a fault. */
  const backwards: Array<Array<number>> = []
  const restful: Array<number> = []

  const visit = (world: World, parent: number, text: string): number => {
    const key = Key.keyOf(world)
    const known = seen.get(key)
    if (known !== undefined) return known
    const id = parents.length
    seen.set(key, id)
    parents.push(parent)
    texts.push(text)
    backwards.push([])
    next.push([world, id])
    return id
  }
  const historyOf = (id: number): ReadonlyArray<string> => {
    const steps: Array<string> = []
    for (let at = id; at > 0; at = parents[at]!) steps.unshift(texts[at]!)
    return steps
  }
  const found = (broken?: { what: string; id: number }): Found => ({
    states: parents.length,
    edges,
    rests,
    depth,
    seconds: (performance.now() - began) / 1000,
    broken: broken && { what: broken.what, history: historyOf(broken.id) }
  })

  visit(begin(space), -1, "")
  while (next.length > 0 && parents.length < limit) {
    frontier = next
    next = []
    depth++
    for (const [world, id] of frontier) {
      const what = brokenIn(space, world)
      if (what !== undefined) return found({ what, id })
      if (isAtRest(world)) {
        rests++
        restful.push(id)
        const still = brokenAtRest(space, world)
        if (still !== undefined) return found({ what: still, id })
      }
      const moves = movesOf(space, world)
      edges += moves.length
      if (moves.length === 0 && !isAtRest(world)) return found({ what: "somebody waits for ever", id })
      for (const move of moves) {
        const to = visit(move.world, id, move.text)
        if (!move.isFault) backwards[to]!.push(id)
      }
    }
  }
  if (parents.length >= limit) return found()
  // From everywhere there is a way to rest without a further fault.
  const queue = [...restful]
  for (const id of queue) progress[id] = true
  while (queue.length > 0) {
    for (const from of backwards[queue.pop()!]!) {
      if (progress[from] === true) continue
      progress[from] = true
      queue.push(from)
    }
  }
  const stuck = parents.findIndex((_, id) => progress[id] !== true)
  return stuck >= 0 ? found({ what: "there is no way to rest from here", id: stuck }) : found()
}
