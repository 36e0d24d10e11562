import { Node, SyntaxKind } from "ts-morph"
import type { Edit, Rule } from "../Edit.js"

/** A rule for the calls of one function of one module. */
const onCall = (
  module: string,
  name: string,
  apply: (call: import("ts-morph").CallExpression, edit: Edit) => void
): Rule => ({
  name: `${module}.${name}`,
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    const call = edit.callOf(node)
    if (call?.module === module && call.name === name && Node.isCallExpression(node)) apply(node, edit)
  }
})

const nameNode = (call: import("ts-morph").CallExpression): Node => call.getExpression()

/** `Effect.gen(this, function* …)` → `Effect.gen({ self: this }, function* …)`. */
export const genThis = onCall("Effect", "gen", (call, edit) => {
  const [self, body] = call.getArguments()
  if (self !== undefined && body !== undefined) edit.replace(self, `{ self: ${self.getText()} }`)
})

/** `Effect.yieldNow()` → `Effect.yieldNow`. */
export const yieldNow = onCall("Effect", "yieldNow", (call, edit) => {
  edit.change(nameNode(call).getEnd(), call.getEnd(), "")
})

/** `Effect.repeatN(effect, n)` → `Effect.repeat(effect, { times: n })`. */
export const repeatN = onCall("Effect", "repeatN", (call, edit) => {
  const last = call.getArguments().at(-1)
  if (last === undefined) return
  edit.replace(nameNode(call), "Effect.repeat")
  edit.before(last, "{ times: ")
  edit.after(last, " }")
})

/** `Effect.withClock(effect, clock)` → `Effect.provideService(effect, Clock.Clock, clock)`. */
export const withClock = onCall("Effect", "withClock", (call, edit) => {
  const clock = call.getArguments().at(-1)
  if (clock === undefined) return
  edit.replace(nameNode(call), "Effect.provideService")
  edit.before(clock, `${edit.use("Clock")}.Clock, `)
})

/** `Layer.setClock(clock)` → `Layer.succeed(Clock.Clock, clock)`. */
export const setClock = onCall("Layer", "setClock", (call, edit) => {
  const [clock] = call.getArguments()
  if (clock === undefined) return
  edit.replace(nameNode(call), "Layer.succeed")
  edit.before(clock, `${edit.use("Clock")}.Clock, `)
})

/** `Effect.logWithLevel(level, message)` → `Effect.logWithLevel(level)(message)`. */
export const logWithLevel = onCall("Effect", "logWithLevel", (call, edit) => {
  const [level, message] = call.getArguments()
  if (level !== undefined && message !== undefined) edit.change(level.getEnd(), message.getStart(), ")(")
})

/** `Effect.runtime<R>()` → `Effect.context<R>()`. */
export const runtime = onCall("Effect", "runtime", (call, edit) => {
  if (call.getTypeArguments().length === 0) edit.after(nameNode(call), "<never>")
})

/** `Deferred.unsafeMake(FiberId.none)` → `Deferred.makeUnsafe()`. */
export const deferred = onCall("Deferred", "unsafeMake", (call, edit) => {
  const [id] = call.getArguments()
  if (id !== undefined) edit.change(id.getPos(), id.getEnd(), "")
})

/** `hub.unsafeOffer(value)` → `PubSub.publishUnsafe(hub, value)`, and the same of a queue. */
export const unsafeOffer: Rule = {
  name: "unsafeOffer",
  kinds: [SyntaxKind.CallExpression],
  apply: (node, edit) => {
    if (!Node.isCallExpression(node)) return
    const callee = node.getExpression()
    const [value] = node.getArguments()
    if (!Node.isPropertyAccessExpression(callee) || callee.getName() !== "unsafeOffer" || value === undefined)
      return
    const target = callee.getExpression()
    const isHub = target.getType().getSymbol()?.getName() === "PubSub"
    edit.before(node, isHub ? `${edit.use("PubSub")}.publishUnsafe(` : `${edit.use("Queue")}.offerUnsafe(`)
    edit.change(target.getEnd(), value.getStart(), ", ")
  }
}

/** `Effect.locally(effect, ref, value)` → `Effect.provideService(effect, ref, value)`. */
export const locally = onCall("Effect", "locally", (call, edit) => {
  edit.replace(nameNode(call), "Effect.provideService")
})

/** `FiberRef.get(ref)` → the reference, which is an effect. */
export const refGet = onCall("FiberRef", "get", (call, edit) => {
  const [ref] = call.getArguments()
  if (ref === undefined) return
  edit.change(call.getStart(), ref.getStart(), "")
  edit.change(ref.getEnd(), call.getEnd(), "")
})

/** `Scope.fork(scope, ExecutionStrategy.sequential)` → `Scope.fork(scope)`. */
export const scopeFork = onCall("Scope", "fork", (call, edit) => {
  const [scope, strategy] = call.getArguments()
  if (scope !== undefined && strategy !== undefined) edit.change(scope.getEnd(), strategy.getEnd(), "")
})
