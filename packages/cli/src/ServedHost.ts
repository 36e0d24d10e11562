/**
 * The hosts that may have the token of an account: `HOST=ACCOUNT`. A helper answers for these hosts only, so
 * that a server somewhere else, such as that of a submodule, never sees the token. Pure.
 *
 * @since 3.1.0
 */
import * as Endpoint from "@latchkey/oauth/Endpoint"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { type Failure, usage } from "./Failure.js"

/**
 * `host` is in lower case, with the port if it is not the default one.
 *
 * @since 3.1.0
 * @category models
 */
export interface ServedHost {
  readonly host: string
  readonly account: string
}

/**
 * Parses the values of `--for`.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parseAll = (texts: ReadonlyArray<string>): Either.Either<ReadonlyArray<ServedHost>, Failure> => {
  if (texts.length === 0) {
    return Either.left(usage("No host is named that may have the token.", example))
  }
  return Either.flatMap(Either.all(texts.map(parse)), (all) => {
    const twice = all.find(({ host }, at) => all.findIndex((other) => other.host === host) !== at)
    return twice === undefined
      ? Either.right(all)
      : Either.left(usage(`${twice.host} is named twice.`, "one --for HOST=ACCOUNT for each host"))
  })
}

const example = "--for HOST=ACCOUNT, such as --for github.com=github/work"

const parse = (text: string): Either.Either<ServedHost, Failure> => {
  const at = text.indexOf("=")
  const account = text.slice(at + 1)
  return at === -1 || account === ""
    ? Either.left(usage(`${quoted(text)} names no account for the host.`, example))
    : Either.map(parseHost(text.slice(0, at)), (host) => ({ host, account }))
}

/**
 * Parses a host as a user types it: a name or an address, and a port if it is not the default one.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parseHost = (text: string): Either.Either<string, Failure> =>
  Option.match(hostOf("https", text), {
    onNone: () =>
      Either.left(usage(`${quoted(text)} is not a host.`, "a name such as github.com, or localhost:8080")),
    onSome: Either.right
  })

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80))

const defaultPorts: Readonly<Record<string, string>> = {
  https: "443",
  http: "80",
  grpcs: "443",
  grpc: "80"
}

/** Normalises `host[:port]` of a request. None if it is anything else: a user, a path, blanks. */
const hostOf = (scheme: string, text: string): Option.Option<string> => {
  const [, name, port] =
    /^((?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(text) ?? []
  if (name === undefined) return Option.none()
  return Option.some(
    name.toLowerCase() + (port === undefined || port === defaultPorts[scheme] ? "" : `:${port}`)
  )
}

/**
 * The account for a request, `Absent` if no host matches, or `Insecure` if one matches but anyone between
 * could read the token: only a loopback address may do without TLS.
 *
 * @since 3.1.0
 * @category lookup
 */
export const find = (
  served: ReadonlyArray<ServedHost>,
  scheme: string,
  text: string
): Either.Either<ServedHost, "Absent" | "Insecure"> => {
  if (!Object.hasOwn(defaultPorts, scheme)) return Either.left("Absent")
  const host = hostOf(scheme, text)
  const found = served.find((one) => Option.contains(host, one.host))
  if (found === undefined) return Either.left("Absent")
  return scheme === "https" || scheme === "grpcs" || isLoopback(found.host)
    ? Either.right(found)
    : Either.left("Insecure")
}

/**
 * Whether a host, perhaps with a port, is this machine.
 *
 * @since 3.1.0
 * @category predicates
 */
export const isLoopback = (host: string): boolean => {
  const url = `http://${host}`
  return URL.canParse(url) && Endpoint.isLoopback(new URL(url))
}

/**
 * The failure for a host whose requests are not encrypted.
 *
 * @since 3.1.0
 * @category constructors
 */
export const insecure = (host: string): Failure =>
  usage(`${quoted(host)} is not asked over TLS, so anyone between could read the token.`, "use https")

/**
 * The failure for a host that is not served, for protocols that must name it.
 *
 * @since 3.1.0
 * @category constructors
 */
export const absent = (text: string, served: ReadonlyArray<ServedHost>): Failure =>
  usage(
    `${quoted(text)} is none of the hosts that may have a token: ${served.map(({ host }) => host).join(", ")}.`,
    "--for HOST=ACCOUNT, if that host should have it"
  )
