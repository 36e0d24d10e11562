/**
 * Only for the other packages of this project. Semantic versioning does not cover it.
 *
 * @since 0.1.0
 */
export * as Age from "./grant/Age.js"
export * as BackOff from "./grant/BackOff.js"
export * as Decision from "./grant/Decision.js"
export * as Describe from "./grant/Describe.js"
export * as Expiry from "./grant/Expiry.js"
export * as Marks from "./grant/Marks.js"
export * as Mismatch from "./grant/Mismatch.js"
export type * as Messages from "./grant/Messages.js"
export * as State from "./grant/State.js"
export * as Step from "./grant/Step.js"
export * as Turn from "./grant/Turn.js"
export * as View from "./grant/View.js"
export * as TimeLimit from "./TimeLimit.js"
export * as Fibers from "./edition/Fibers.js"
export * as Observing from "./edition/Observing.js"
export * as Problems from "./edition/Problems.js"
export * as Seeded from "./edition/Seeded.js"
export * as Streams from "./edition/Streams.js"
