export * as FaultyStorage from "./FaultyStorage.js"
export * as ManualClock from "./ManualClock.js"
export * as ScriptedRefresher from "./ScriptedRefresher.js"
