/** The other end of the measurements: a real authorization server in a process of its own. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

export interface RemoteServer {
  readonly issuer: string
  /** A first grant: its refresh token. */
  readonly login: () => Promise<string>
  readonly stop: () => void
}

export const startServer = async (): Promise<RemoteServer> => {
  const child = fork(fileURLToPath(new URL("./commands/authorization-server.ts", import.meta.url)), {
    stdio: ["ignore", "ignore", "ignore", "ipc"]
  })
  const reply = async (): Promise<string> => String((await once(child, "message"))[0])
  const issuer = await reply()
  return {
    issuer,
    login: async () => {
      const token = reply()
      child.send("login")
      return token
    },
    stop: () => child.kill("SIGKILL")
  }
}
