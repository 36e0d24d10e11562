/** Everything that a program shows to observers: its logs, spans, metrics, errors and values. */
import { inspect } from "node:util"
import { Cause, Effect, Exit, Metric, Tracer } from "effect"
import * as Edition from "./Edition.js"

/** Everything that an onlooker can print of a value. */
export const shown = (value: unknown): string => {
  const parts = [
    inspect(value, { depth: 20, showHidden: true }),
    inspect(value, { depth: 20, customInspect: false, getters: true }),
    String(value),
    JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}` : v)) ?? ""
  ]
  if (value instanceof Error) parts.push(value.message, value.stack ?? "", shown(value.cause))
  if (Exit.isExit(value) && Exit.isFailure(value)) {
    parts.push(Cause.pretty(value.cause))
  }
  return parts.join("\n")
}

/** Runs a program and returns all that it logged, traced and measured, beside its exit. */
export const observed = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const spans: Array<Tracer.Span> = []
    const logged = Edition.logging((line) => {
      lines.push(shown(line.message), shown(Object.entries(line.annotations)), line.cause, line.spans.join())
    })
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      span: (...args) => {
        const span = native.span(...args)
        spans.push(span)
        return span
      },
      context: native.context
    })
    const exit = yield* Effect.exit(program).pipe(Effect.withTracer(tracer), logged)
    const metrics = yield* Metric.snapshot
    return {
      exit,
      lines: lines.length,
      spans: spans.length,
      text: [
        ...lines,
        ...spans.map((s) => shown([s.name, [...s.attributes], s.status])),
        shown(metrics),
        shown(exit)
      ].join("\n")
    }
  })
