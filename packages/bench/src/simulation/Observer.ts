/** What a program shows of itself while it runs: its log and its spans, as a collector would get them. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as HashSet from "effect/HashSet"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import type * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Judge } from "./Judge.js"
import type { Process } from "./World.js"

interface Views {
  readonly loggers: HashSet.HashSet<Logger.Logger<unknown, unknown>>
  readonly tracer: Tracer.Tracer
}

const views = new WeakMap<Process, Views>()

/** Shows the judge all that is logged and traced. */
export const observed = <A, E>(
  judge: Judge,
  process: Process,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  let own = views.get(process)
  if (own === undefined)
    views.set(process, (own = { loggers: loggersFor(judge, process), tracer: tracerFor(judge, process) }))
  return effect.pipe(
    Effect.withTracer(own.tracer),
    Effect.locally(FiberRef.currentLoggers, own.loggers),
    Effect.locally(FiberRef.currentMinimumLogLevel, LogLevel.All)
  )
}

const loggersFor = (judge: Judge, process: Process) =>
  HashSet.make(
    Logger.make<unknown, void>(({ annotations, cause, message }) => {
      const text = Array.isArray(message) ? message.join(" ") : String(message)
      const fields = new Map(annotations)
      judge.scan("the log", `${text} ${JSON.stringify([...fields])}`)
      if (!Cause.isEmpty(cause)) {
        judge.scan("the log", Cause.pretty(cause))
        if (Cause.isDie(cause)) judge.breaks("defect", `a fiber of ${process.name}: ${Cause.pretty(cause)}`)
      }
      judge.logged(process, text, fields)
    })
  )

const tracerFor = (judge: Judge, process: Process): Tracer.Tracer =>
  Tracer.make({
    context: (f) => f(),
    span: (name, parent, context, links, startTime, kind) =>
      new Span(judge, process, name, parent, context, links, startTime, kind)
  })

class Span implements Tracer.Span {
  readonly _tag = "Span"
  readonly spanId = "span"
  readonly traceId = "trace"
  readonly sampled = true
  readonly attributes = new Map<string, unknown>()
  status: Tracer.SpanStatus

  constructor(
    private readonly judge: Judge,
    private readonly process: Process,
    readonly name: string,
    readonly parent: Option.Option<Tracer.AnySpan>,
    readonly context: Context.Context<never>,
    readonly links: ReadonlyArray<Tracer.SpanLink>,
    startTime: bigint,
    readonly kind: Tracer.SpanKind
  ) {
    this.status = { _tag: "Started", startTime }
    judge.scan("a span's name", name)
    judge.span(process, name, true)
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    this.status = { _tag: "Ended", startTime: this.status.startTime, endTime, exit }
    if (exit._tag === "Failure") this.judge.scan(`the end of span ${this.name}`, Cause.pretty(exit.cause))
    this.judge.span(this.process, this.name, false)
  }

  attribute(key: string, value: unknown): void {
    this.attributes.set(key, value)
    this.judge.scan(`the attribute ${key} of span ${this.name}`, JSON.stringify(value) ?? "")
  }

  event(name: string, _: bigint, attributes?: Record<string, unknown>): void {
    this.judge.scan(`an event of span ${this.name}`, `${name} ${JSON.stringify(attributes)}`)
  }

  addLinks(): void {}
}
