/**
 * The programs beyond Node and npm that some tests use. Without one, its tests are skipped, with one line at
 * the end of the run that says how to install it. The tests look for programs in `PATH`, so a `PATH` without
 * them shows such a run.
 */
import * as fs from "node:fs"
import * as Path from "node:path"

export interface Program {
  /** Undefined if it is not installed. */
  readonly path: string | undefined
  /** The line that says what is skipped and how to install it. Undefined if nothing is skipped. */
  readonly missing: string | undefined
}

/** The beginning of such a line, by which the end of the run collects them. */
export const prefix = "skipped: "

const isExecutable = (path: string): boolean => {
  try {
    fs.accessSync(path, fs.constants.X_OK)
    return fs.statSync(path).isFile()
  } catch {
    return false
  }
}

const folders = (process.env["PATH"] ?? "").split(Path.delimiter).filter((folder) => folder !== "")

const onPath = (name: string): string | undefined =>
  folders.map((folder) => Path.join(folder, name)).find(isExecutable)

export const program = (part: string, remedy: string, path: string | undefined): Program => ({
  path,
  missing: path === undefined ? `${prefix}${part} (${remedy})` : undefined
})

/** Debian keeps the servers outside the `PATH`, in one folder per version, and only the clients in it. */
const debianInitdb = (): string | undefined => {
  const versions = "/usr/lib/postgresql"
  if (onPath("psql") === undefined || !fs.existsSync(versions)) return undefined
  return fs
    .readdirSync(versions)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => Path.join(versions, version, "bin", "initdb"))
    .find(isExecutable)
}

const chromiumPath = (): string | undefined => {
  const chosen = process.env["CHROMIUM_PATH"] ?? ""
  if (chosen !== "") return isExecutable(chosen) ? chosen : undefined
  return ["chromium", "chromium-browser", "google-chrome"].map(onPath).find((path) => path !== undefined)
}

export const chromium = program(
  "logins in a real browser",
  "install Debian's chromium, or set CHROMIUM_PATH to a Chromium",
  chromiumPath()
)

export const redis = program("Redis", "install Debian's redis-server", onPath("redis-server"))

/** The path is that of `initdb`. `postgres` is beside it. */
export const postgres = program(
  "PostgreSQL",
  "install Debian's postgresql",
  onPath("initdb") ?? debianInitdb()
)

/** The path is that of `dbus-run-session`, which starts the session for the others. */
export const keychain = program(
  "the keychain",
  "install Debian's dbus and gnome-keyring",
  ["dbus-send", "gnome-keyring-daemon"].some((name) => onPath(name) === undefined)
    ? undefined
    : onPath("dbus-run-session")
)

/** Takes and shows Codex's locks. */
export const flock = program(
  "locks that Codex takes",
  "install util-linux, on Linux",
  process.platform === "linux" ? onPath("flock") : undefined
)

/** The real clients of the command's helper protocols. */
export const git = program("git with the command as its helper", "install Debian's git", onPath("git"))

export const docker = program(
  "Docker with the command as its helper",
  "install Debian's docker-cli",
  onPath("docker")
)

export const kubectl = program(
  "kubectl with the command as its plugin",
  "install Debian's kubernetes-client",
  onPath("kubectl")
)

/** Clients of the agent. */
export const curl = program("curl as a client of the agent", "install Debian's curl", onPath("curl"))

export const python = program(
  "Python as a client of the agent",
  "install Debian's python3",
  onPath("python3")
)

export const systemdActivate = program(
  "the agent with a socket from systemd",
  "install Debian's systemd",
  onPath("systemd-socket-activate")
)

/** Not a program, but skipped in the same way. */
export const root = program(
  "files of other users",
  "run the tests as root",
  process.getuid?.() === 0 ? process.execPath : undefined
)
