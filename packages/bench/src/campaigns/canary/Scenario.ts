import type * as Effect from "effect/Effect"

/** Something that is done with secrets. All that it logs, traces, measures, and gives is looked at. */
export interface Scenario {
  readonly name: string
  readonly play: Effect.Effect<unknown, unknown>
}
