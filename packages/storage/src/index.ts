export * as File from "./File.js"
export * as FileFormat from "./FileFormat.js"
