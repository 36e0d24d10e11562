/**
 * What only the other packages of the project need. Not covered by semantic versioning.
 *
 * @since 0.1.0
 */
export * as BearerAttempt from "./internal/bearerAttempt.js"
export * as BearerSender from "./internal/bearerSender.js"
export * as BearerToken from "./internal/bearerToken.js"
export * as ServerClock from "./internal/serverClock.js"
