export * as Session from "./Session.js"
