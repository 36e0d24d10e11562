export * as Fault from "./Fault.js"
export * as HostileServer from "./HostileServer.js"
export * as Rotation from "./Rotation.js"
