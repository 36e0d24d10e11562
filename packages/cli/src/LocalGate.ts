/**
 * Decides who may use a listener of this machine: a request needs the local secret, must name the listener
 * itself as its host, and must not come from a web page. Pure.
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { createHash, timingSafeEqual } from "node:crypto"

/**
 * `hosts`: the values of `Host` that mean this listener. Empty on a Unix socket, where any host will do.
 * `secret`: undefined on a Unix socket, whose file decides who may connect.
 *
 * @since 3.1.0
 * @category models
 */
export interface Gate {
  readonly hosts: ReadonlyArray<string>
  readonly secret: Redacted.Redacted | undefined
}

/**
 * Why a request is refused.
 *
 * - `Host`: it names another host, as after DNS rebinding.
 * - `WebPage`: a browser sent it.
 * - `Secret`: the local secret is missing or wrong.
 *
 * @since 3.1.0
 * @category models
 */
export type Refusal = "Host" | "WebPage" | "Secret"

/**
 * The owner and the mode of a file, as the system has them.
 *
 * @since 3.1.0
 * @category models
 */
export interface Owned {
  readonly uid: number
  readonly mode: number
}

/**
 * Whether only this user, and root, can connect to a Unix socket that another process made: by its own mode, or
 * because nobody else can enter its directory. A socket without a file is open to everybody.
 *
 * @since 3.1.0
 * @category predicates
 */
export const isPrivateSocket = (
  user: number | undefined,
  socket: Owned | undefined,
  directory: Owned | undefined
): boolean => {
  const isOwn = ({ mode, uid }: Owned) => (uid === user || uid === 0) && (mode & 0o077) === 0
  return socket !== undefined && (isOwn(socket) || (directory !== undefined && isOwn(directory)))
}

/**
 * The path of a Unix socket, from the text of `/proc/net/unix` and its inode (proc(5)). An abstract name begins
 * with `@`.
 *
 * @since 3.1.0
 * @category parsing
 */
export const socketPath = (sockets: string, inode: number): string | undefined =>
  sockets
    .split("\n")
    .map((line) => /^\S+: (?:\S+ +){5} *(\d+) (.+)$/.exec(line))
    .find((found) => Number(found?.[1]) === inode)?.[2]

type Headers = Readonly<Record<string, string | undefined>>

/**
 * Headers that only a browser sends. A page cannot remove them. `Sec-Fetch-Mode` is none of them: the `fetch` of
 * Node, and so every SDK that uses it, sends it too.
 */
const ofBrowsers = ["origin", "sec-fetch-site"]

/** Headers in which SDKs send their API key. None of them is forwarded. */
const carriers = ["authorization", "x-api-key", "x-latchkey-secret"]

/**
 * The hosts that mean a listener on a port of the loopback address.
 *
 * @since 3.1.0
 * @category constructors
 */
export const hostsOf = (port: number): ReadonlyArray<string> => {
  const names = ["127.0.0.1", "localhost", "[::1]"]
  return [...names.map((name) => `${name}:${port}`), ...(port === 80 ? names : [])]
}

/**
 * Returns the headers without the local secret, or why the request is refused. The names of `headers` are in
 * lower case. An SDK may send its key in several headers: none that holds the secret is returned.
 *
 * @since 3.1.0
 * @category predicates
 */
export const admit = (
  { hosts, secret }: Gate,
  headers: Headers
): Either.Either<Readonly<Record<string, string>>, Refusal> => {
  if (hosts.length > 0 && !hosts.includes((headers["host"] ?? "").toLowerCase())) return Either.left("Host")
  if (ofBrowsers.some((name) => headers[name] !== undefined)) return Either.left("WebPage")
  if (secret !== undefined && !carriers.some((name) => isSecret(secret, headers[name]))) {
    return Either.left("Secret")
  }
  const known = secret === undefined ? undefined : Redacted.value(secret)
  const holders = Object.keys(headers).filter((name) => known !== undefined && headers[name]?.includes(known))
  return Either.right(without(headers, [...carriers, ...holders]))
}

/**
 * Whether a header is the secret, perhaps after `Bearer`. Compares digests, so that the time of the comparison
 * shows neither the text nor its length.
 *
 * @since 3.1.0
 * @category predicates
 */
export const isSecret = (secret: Redacted.Redacted, header: string | undefined): boolean => {
  if (header === undefined) return false
  const given = header.replace(/^bearer +/i, "")
  return timingSafeEqual(digest(given), digest(Redacted.value(secret)))
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/**
 * Returns the headers without those names.
 *
 * @since 3.1.0
 * @category getters
 */
export const without = (headers: Headers, names: ReadonlyArray<string>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !names.includes(entry[0])
    )
  )

/**
 * Explains a refusal to the program that sent the request.
 *
 * @since 3.1.0
 * @category getters
 */
export const describe = (refusal: Refusal): string => explanations[refusal]

const explanations: Readonly<Record<Refusal, string>> = {
  Host: "The request names another host. Use the address that latchkey printed.",
  WebPage: "Web pages may not use this address.",
  Secret: "The local secret is missing or wrong. Send it as Authorization: Bearer SECRET, or as X-Api-Key."
}
