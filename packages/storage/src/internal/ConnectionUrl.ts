/**
 * The URL of a server, looked at before a client is given it: clients throw over some, and quote them. What is wrong
 * is said by the name of the setting, never by what stands in it, for that may be a password.
 */
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"

export interface Form {
  /** What the URL is called in messages. */
  readonly setting: string
  /** How it is to be written, for people. */
  readonly form: string
  /** With their colons. */
  readonly protocols: ReadonlyArray<string>
  /** Whether a host may be left out, for one that stands elsewhere or a socket. */
  readonly hostless: boolean
}

export const parse = (text: string, wanted: Form): Either.Either<URL, ConfigError.ConfigError> => {
  const fail = (problem: string) =>
    Either.left(
      ConfigError.InvalidData([wanted.setting], `${wanted.setting} ${problem} (its value is not shown).`)
    )
  if (text.trim() === "") return fail(`is blank: give a URL of the form ${wanted.form}`)
  if (/[\s\p{Cc}]/u.test(text)) return fail("has a blank or a control character in it: write a blank as %20")
  const url = URL.canParse(text) ? new URL(text) : undefined
  const misplaced = `if its password has one of / ? # @ : % in it, write them as %2F %3F %23 %40 %3A %25`
  if (
    url === undefined ||
    !wanted.protocols.includes(url.protocol) ||
    (url.host === "" && !wanted.hostless)
  ) {
    return fail(`is not a URL of the form ${wanted.form}: correct it; ${misplaced}`)
  }
  // What stands before a mark that was not escaped would be taken for the host, and be shown as such.
  if (url.hash !== "" || text.includes("#")) return fail(`has a # in it: write it as %23`)
  const bare = url.username === "" && url.password === ""
  if (bare && `${url.pathname}${url.search}`.includes("@")) {
    return fail(`has an @ after its host: ${misplaced}`)
  }
  return [url.username, url.password, url.pathname].every(isDecodable)
    ? Either.right(url)
    : fail("has a % in it that begins no escape sequence: write it as %25")
}

const isDecodable = (part: string): boolean => {
  try {
    decodeURIComponent(part)
    return true
  } catch {
    return false
  }
}
