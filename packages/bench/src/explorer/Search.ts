/** Breadth-first search of a space: every history, the shortest first. */
import { brokenAtRest, brokenIn, isAtRest } from "./Invariants.js"
import * as Key from "./Key.js"
import { movesOf } from "./Moves.js"
import { begin, type Space, type World } from "./World.js"

export interface Found {
  readonly states: number
  readonly edges: number
  readonly rests: number
  readonly depth: number
  readonly seconds: number
  /** Whether the whole space was searched. */
  readonly isWhole: boolean
  /** The shortest history that violates an invariant: the violation, and the steps before it. */
  readonly broken: { readonly what: string; readonly history: ReadonlyArray<string> } | undefined
}

/** Describes the result of a search. */
export const inWords = ({ broken }: Found): string =>
  broken === undefined
    ? ""
    : [`*** ${broken.what}:`, ...broken.history.map((step, at) => `${at + 1}. ${step}`), ""].join("\n")

/** Searches the whole space, or up to `limit` states. */
export const search = (space: Space, limit = Infinity): Found => {
  const began = performance.now()
  Key.clear()
  const ids = new Map<string, number>()
  const parents: Array<number> = []
  const texts: Array<string> = []
  /** For the search of dead ends: the worlds from which each world is reached without a fault. */
  const backwards: Array<Array<number>> = []
  const rests: Array<number> = []
  let edges = 0
  let depth = 0
  let next: Array<readonly [World, number]> = []

  const visit = (world: World, parent: number, text: string): number => {
    const key = Key.ofWorld(space, world)
    const known = ids.get(key)
    if (known !== undefined) return known
    const id = parents.push(parent) - 1
    ids.set(key, id)
    texts.push(text)
    backwards.push([])
    next.push([world, id])
    return id
  }
  const found = (what?: string, id = 0): Found => {
    const history: Array<string> = []
    for (let at = id; at > 0; at = parents[at]!) history.unshift(texts[at]!)
    return {
      states: parents.length,
      edges,
      rests: rests.length,
      depth,
      seconds: Math.round((performance.now() - began) / 100) / 10,
      isWhole: what === undefined && next.length === 0,
      broken: what === undefined ? undefined : { what, history }
    }
  }

  visit(begin(space), -1, "")
  while (next.length > 0 && parents.length < limit) {
    const frontier = next
    next = []
    depth++
    for (const [world, id] of frontier) {
      const isResting = isAtRest(world)
      const what = brokenIn(space, world) ?? (isResting ? brokenAtRest(space, world) : undefined)
      if (what !== undefined) return found(what, id)
      if (isResting) rests.push(id)
      const moves = movesOf(space, world)
      edges += moves.length
      if (moves.length === 0 && !isResting) return found("somebody waits for ever", id)
      for (const { isFault, text, world: after } of moves) {
        const to = visit(after, id, text)
        if (!isFault) backwards[to]!.push(id)
      }
    }
  }
  if (next.length > 0) return found()
  // Every world can come to rest without a further fault.
  const comesToRest = new Set(rests)
  for (const id of comesToRest) for (const from of backwards[id]!) comesToRest.add(from)
  const stuck = parents.findIndex((_, id) => !comesToRest.has(id))
  return stuck >= 0 ? found("somebody waits for ever: nothing leads to rest from here", stuck) : found()
}
