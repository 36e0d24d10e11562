/** What was moved or renamed between Effect 3 and Effect 4, as tables. Everything else is a rule. */

/** The moved modules, and the namespaces under which they are used afterwards. */
const modules: Readonly<Record<string, { readonly to: string; readonly as?: string }>> = {
  "effect/Either": { to: "effect/Result", as: "Result" },
  "effect/ConfigError": { to: "effect/Config", as: "Config" },
  "effect/FiberRef": { to: "effect/References", as: "References" },
  "effect/FastCheck": { to: "fast-check" },
  "effect/TestClock": { to: "effect/testing/TestClock" },
  "effect/ParseResult": { to: "effect/SchemaIssue", as: "SchemaIssue" },
  "@effect/platform/Error": { to: "effect/PlatformError", as: "PlatformError" },
  "@effect/platform/FileSystem": { to: "effect/FileSystem" },
  "@effect/platform/Path": { to: "effect/Path" },
  "@effect/platform/KeyValueStore": { to: "effect/persistence/KeyValueStore" },
  "@effect/platform/UrlParams": { to: "effect/http/UrlParams" },
  "@effect/experimental/Reactivity": { to: "effect/reactivity/Reactivity" },
  "@effect/platform-node/NodeContext": { to: "@effect/platform-node/NodeServices", as: "NodeServices" }
}

/** Where a module is in Effect 4. */
export const moved = (module: string): { readonly to: string; readonly as?: string } => {
  const known = modules[module]
  if (known !== undefined) return known
  if (module.startsWith("@effect/platform/"))
    return { to: module.replace("@effect/platform/", "effect/http/") }
  if (module.startsWith("@effect/sql/")) return { to: module.replace("@effect/sql/", "effect/sql/") }
  return { to: module }
}

/** The renamed exports, by the last part of their module's name. `Module.name` is in another module. */
export const exported: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Effect: {
    either: "result",
    async: "callback",
    catchAll: "catch",
    catchAllCause: "catchCause",
    catchAllDefect: "catchDefect",
    forkDaemon: "forkDetach",
    fork: "forkChild",
    runtime: "context",
    mapInputContext: "updateContext",
    clock: "Clock.Clock",
    withFiberRuntime: "withFiber",
    tapErrorCause: "tapCause",
    intoDeferred: "Deferred.into",
    unsafeMakeLatch: "Latch.makeUnsafe",
    unsafeMakeSemaphore: "Semaphore.makeUnsafe",
    makeSemaphore: "Semaphore.make",
    Semaphore: "Semaphore.Semaphore",
    Latch: "Latch.Latch"
  },
  Either: {
    right: "succeed",
    left: "fail",
    Either: "Result",
    isLeft: "isFailure",
    isRight: "isSuccess",
    isEither: "isResult",
    mapLeft: "mapError",
    getRight: "getSuccess",
    getLeft: "getFailure",
    filterOrLeft: "filterOrFail",
    fromNullable: "fromNullishOr"
  },
  Cause: {
    isInterruptedOnly: "hasInterruptsOnly",
    failureOption: "findErrorOption",
    isInterrupted: "hasInterrupts"
  },
  Exit: { isInterrupted: "hasInterrupts" },
  Context: { Tag: "Service", TagClass: "ServiceClass" },
  Deferred: { unsafeDone: "doneUnsafe", unsafeMake: "makeUnsafe" },
  Duration: {
    DurationInput: "Input",
    decode: "fromInputUnsafe",
    decodeUnknown: "fromInput",
    greaterThan: "isGreaterThan",
    lessThanOrEqualTo: "isLessThanOrEqualTo"
  },
  Fiber: { RuntimeFiber: "Fiber" },
  FiberRef: {
    currentMinimumLogLevel: "MinimumLogLevel",
    currentMetricLabels: "Metric.CurrentMetricAttributes",
    currentTracerEnabled: "TracerEnabled"
  },
  Layer: {
    scoped: "effect",
    unwrapEffect: "unwrap",
    scopedContext: "effectContext",
    scopedDiscard: "effectDiscard",
    catchAll: "catch"
  },
  Order: { string: "String", number: "Number", greaterThan: "isGreaterThan" },
  Metric: { tagged: "withAttributes", set: "update" },
  Option: { fromNullable: "fromNullishOr" },
  // What is named so in Effect 4 waits until there is something.
  Queue: { takeAll: "clear" },
  Encoding: {
    encodeBase64: "Base64.encode",
    decodeBase64: "Base64.decode",
    encodeBase64Url: "Base64Url.encode",
    decodeBase64Url: "Base64Url.decode"
  },
  HttpServerResponse: {
    unsafeJson: "jsonUnsafe",
    unsafeSetCookie: "setCookieUnsafe",
    expireCookie: "expireCookieUnsafe"
  },
  HttpBody: { unsafeJson: "jsonUnsafe" },
  HttpClientRequest: { bodyUnsafeJson: "bodyJsonUnsafe" },
  UrlParams: { makeUrl: "Url.make" },
  Predicate: { isReadonlyRecord: "isReadonlyObject", isRecord: "isObject" },
  Runtime: { Runtime: "Context.Context" },
  Schema: {
    NonNegativeInt: "Natural",
    Redacted: "RedactedFromValue",
    decodeUnknownEither: "decodeUnknownResult",
    encodeEither: "encodeResult",
    DurationFromSelf: "Duration"
  },
  Scope: { extend: "provide", CloseableScope: "Closeable" },
  Stream: { unwrapScoped: "unwrap" },
  Config: {
    string: "String",
    nonEmptyString: "NonEmptyString",
    redacted: "Redacted",
    mapOrFail: "mapEffect"
  },
  HttpClient: {
    currentTracerDisabledWhen: "TracerDisabledWhen",
    currentTracerPropagation: "TracerPropagationEnabled"
  },
  NodeHttpClient: { layer: "layerNodeHttp" },
  DateTime: { unsafeMake: "makeUnsafe" },
  Inspectable: { redact: "Redactable.redact" }
}

/** Where a module is that is not `effect/Name`. */
export const homes: Readonly<Record<string, string>> = {
  Base64: "effect/encoding/Base64",
  Base64Url: "effect/encoding/Base64Url",
  Url: "effect/http/Url"
}

/** The renamed members of values. None of these names means anything else here. */
export const members: Readonly<Record<string, string>> = {
  unsafeCurrentTimeMillis: "currentTimeMillisUnsafe",
  unsafeCurrentTimeNanos: "currentTimeNanosUnsafe",
  unsafeOpen: "openUnsafe",
  unsafeClose: "closeUnsafe",
  getFiberRef: "getRef",
  unsafePoll: "pollUnsafe"
}
