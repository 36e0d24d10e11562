export * as ExitCode from "./ExitCode.js"
