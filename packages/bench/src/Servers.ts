/** A real authorization server in a separate process, for measurements and campaigns. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

/** The token endpoint's figures: requests answered with tokens, requests refused, and the most at once. */
export interface ServerFigures {
  readonly requests: number
  readonly answered: number
  readonly failed: number
  readonly mostAtOnce: number
}

export interface RemoteServer {
  readonly issuer: string
  /** Creates a first grant and returns its refresh token. */
  readonly login: () => Promise<string>
  readonly figures: () => Promise<ServerFigures>
  readonly stop: () => void
}

/**
 * `accessTokenTtl` is in seconds. `answersAfter` is the additional delay of a token response, in
 * milliseconds.
 */
export const startServer = async (options: {
  readonly accessTokenTtl: number
  readonly answersAfter?: number
}): Promise<RemoteServer> => {
  const program = fileURLToPath(new URL("./commands/authorization-server.ts", import.meta.url))
  const child = fork(program, [String(options.accessTokenTtl), String(options.answersAfter ?? 0)], {
    stdio: ["ignore", "ignore", "ignore", "ipc"]
  })
  const reply = async (): Promise<unknown> => (await once(child, "message"))[0] as unknown
  const ask = (question: string): Promise<unknown> => {
    const answer = reply()
    child.send(question)
    return answer
  }
  const issuer = String(await reply())
  return {
    issuer,
    login: async () => String(await ask("login")),
    figures: async () => (await ask("figures")) as ServerFigures,
    stop: () => void child.kill("SIGKILL")
  }
}
