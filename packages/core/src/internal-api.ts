/**
 * What only the other packages of the project need. Not covered by semantic versioning.
 *
 * @since 0.1.0
 */
export * as TimeLimit from "./TimeLimit.js"
