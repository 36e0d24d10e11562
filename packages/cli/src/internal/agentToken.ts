/** The shortest way to a token: `latchkey token ACCOUNT`, with the socket of an agent in `LATCHKEY_AGENT`. */
import { connect } from "node:net"
import { ownerOf, parsePlace, tokenPath } from "@latchkey/providers/AgentSocket"
import { writeAll } from "./writeAll.js"

/** An agent that has a token answers within this time, in milliseconds. The whole command waits longer. */
const soon = 5_000

/** In characters. Longer responses are none of an agent's. */
const longest = 1_048_576

/** Returns the account and the socket. Undefined for everything else, which the whole command handles. */
export const parse = (
  argv: ReadonlyArray<string>,
  environment: Readonly<Record<string, string | undefined>>
): { readonly account: string; readonly socketPath: string } | undefined => {
  const [command, account = "", ...more] = argv
  if (command !== "token" || account === "" || account.startsWith("-") || more.length > 0) return undefined
  const place = parsePlace(environment["LATCHKEY_AGENT"] ?? "")
  return place !== undefined && "socketPath" in place ? { account, ...place } : undefined
}

/** Returns the token of an agent's response, if it is one that is printed as it is. */
export const tokenOf = (response: string): string | undefined => {
  const [head = "", body = ""] = response.split("\r\n\r\n")
  if (!/^HTTP\/1\.[01] 200 /.test(head)) return undefined
  const { token } = JSON.parse(body) as { readonly token?: unknown }
  return typeof token === "string" && /^[\x21-\x7e]+$/.test(token) ? token : undefined
}

/** In HTTP 1.0, the end of the connection is that of the response. Loading `node:http` takes as long as all else. */
const ask = (socketPath: string, path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let response = ""
    const socket = connect(socketPath, () => socket.write(`GET ${path} HTTP/1.0\r\nHost: agent\r\n\r\n`))
    socket.setEncoding("utf8").on("data", (part: string) => {
      response += part
      if (response.length > longest) socket.destroy(new Error())
    })
    socket.setTimeout(soon, () => socket.destroy(new Error()))
    socket.once("error", reject).once("end", () => resolve(response))
  })

/**
 * Prints the token, if the agent gives one at once. Returns whether it did. The whole command asks again, and
 * reports what is wrong.
 */
export const print = async (
  argv: ReadonlyArray<string>,
  environment: Readonly<Record<string, string | undefined>>
): Promise<boolean> => {
  const wanted = parse(argv, environment)
  if (wanted === undefined) return false
  const { account, socketPath } = wanted
  try {
    if (ownerOf(socketPath) !== "own") return false
    const token = tokenOf(await ask(socketPath, tokenPath(account, 0)))
    if (token !== undefined) writeAll(1, `${token}\n`)
    return token !== undefined
  } catch {
    return false
  }
}
