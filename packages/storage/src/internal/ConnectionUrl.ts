/**
 * Checks a server's URL before a client gets it, because clients throw on some URLs and quote them. Messages
 * name the setting and never quote the URL, which may hold a password.
 */
import type * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import { Problems } from "@latchkey/core/internal-api"

export interface Form {
  /** The name of the URL in messages. */
  readonly setting: string
  /** The expected form, for people. */
  readonly form: string
  /** Including their colons. */
  readonly protocols: ReadonlyArray<string>
  /** Whether the host may be missing, because it is set elsewhere or there is a socket. */
  readonly hostless: boolean
}

export const parse = (text: string, wanted: Form): Either.Either<URL, ConfigError.ConfigError> => {
  const fail = (problem: string) =>
    Either.left(
      Problems.invalidSetting([wanted.setting], `${wanted.setting} ${problem} (its value is not shown).`)
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
  // The text before an unescaped mark would be taken for the host and shown.
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
