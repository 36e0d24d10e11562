/** Parses the arguments of commands that are served before the parser of all commands is loaded. */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Format from "../Format.js"
import type * as Token from "../commands/Token.js"

/** The arguments after `--` belong to another command and are not parsed. */
export const splitRest = (
  argv: ReadonlyArray<string>
): { readonly own: ReadonlyArray<string>; readonly rest: ReadonlyArray<string> | undefined } => {
  const at = argv.indexOf("--")
  return at === -1 ? { own: argv, rest: undefined } : { own: argv.slice(0, at), rest: argv.slice(at + 1) }
}

/**
 * Returns the options of the plain forms of `token`. None for everything else, which the full parser handles,
 * including its errors.
 */
export const plainToken = (argv: ReadonlyArray<string>): Token.Options | undefined => {
  const [command, ...args] = argv
  if (command !== "token") return undefined
  let form = Option.none<Token.Form>()
  const found = { account: "", minValidity: 0, header: false, json: false }
  for (let at = 0; at < args.length; at++) {
    const argument = args[at]!
    if (argument === "--header") found.header = true
    else if (argument === "--json") found.json = true
    else if (argument === "--format") {
      // kubectl runs the command for every one of its own.
      const format = args[++at]
      if (format === undefined || format.startsWith("-")) return undefined
      form = Option.some({ format, host: Option.none(), username: Option.none(), variable: Option.none() })
    } else if (argument === "--min-validity") {
      const span = Format.parseSpan(args[++at] ?? "")
      if (Either.isLeft(span)) return undefined
      found.minValidity = span.right
    } else if (argument.startsWith("-") || argument === "" || found.account !== "") return undefined
    else found.account = argument
  }
  return found.account === "" ? undefined : { ...found, form }
}
