/**
 * How a JSON file holds a grant: our own record, or the credentials of another program in a document that
 * remains its own.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import { journalKeys, recordKeys } from "./internal/RecordKeys.js"
import { isObject, type JsonObject as Document } from "./internal/StrictJson.js"

/**
 * An object of a document. A number with more digits than JavaScript holds is an opaque value in it.
 *
 * @since 0.1.0
 * @category models
 */
export type JsonObject = Document

/**
 * Why a document gives no entry, or takes none: where in it, and in words; never a value from it. `NoGrant`
 * where it is sound but holds something else, an API key say; `Incomplete` where an entry lacks what the
 * document's own program needs; `Denied` where the document is only read.
 *
 * @since 0.1.0
 * @category models
 */
export interface FormatProblem {
  readonly reason: Extract<
    StorageError["reason"],
    "Malformed" | "NewerFormat" | "WrongUnit" | "NoGrant" | "Incomplete" | "Denied"
  >
  readonly path: string
  readonly problem: string
}

/**
 * The codec between a document and an entry.
 *
 * @since 0.1.0
 * @category models
 */
export interface FileFormat {
  /** The entry in a document, none where it holds none. `now` is for {@link Entry.instantProblem}. */
  readonly decode: (
    document: JsonObject,
    now: number
  ) => Either.Either<Option.Option<Entry.Entry>, FormatProblem>
  /**
   * The document with the entry in it, all it does not know kept. `revision` is new with each write and is
   * to be put into the document, so that no two states of a file are ever alike. `previous` is the entry that
   * the document holds.
   */
  readonly encode: (
    document: JsonObject,
    entry: Entry.Entry,
    revision: string,
    previous?: Option.Option<Entry.Entry>
  ) => JsonObject
  /**
   * Why an entry must not be put into a document: its program could not use it. What is only missing is no
   * reason to refuse the next state of the grant that is there, since its rotated token would be lost.
   */
  readonly problem?: (
    entry: Entry.Entry,
    document: JsonObject,
    context: EncodeContext
  ) => Option.Option<FormatProblem>
  /** What remains of a document without the entry; none where the file is to go too. */
  readonly clear: (document: JsonObject) => Option.Option<JsonObject>
}

/**
 * Our own record, at the top level of the document.
 *
 * @since 0.1.0
 * @category formats
 */
export const native: FileFormat = {
  decode: (document, now) => Either.map(Entry.fromJson(document, now), Option.some),
  encode: (document, entry, revision) => {
    const kept = Object.entries(document).filter(([key]) => !recordKeys.has(key))
    return { ...Entry.toJson(entry), revision, ...Object.fromEntries(kept) }
  },
  clear: () => Option.none()
}

/**
 * What {@link foreign} must know of another program's file.
 *
 * @since 0.1.0
 * @category models
 */
export interface ForeignOptions {
  /** The keys that lead to the credentials in the document; none for its top level. */
  readonly at: ReadonlyArray<string>
  /** The credentials in the object found there; none where it holds none. `path` is relative to it. */
  readonly decode: (
    section: JsonObject,
    now: number
  ) => Either.Either<Option.Option<Credentials.Credentials>, FormatProblem>
  /**
   * Whether the expiry is not in the file, but is the token's own word, by the clock of its server: then ours, which
   * allows for the difference of the clocks, is kept beside the journal; no, unless given.
   */
  readonly derivesExpiry?: boolean
  /**
   * The keys to write, `undefined` for those to remove. Objects are merged at every level with what is
   * there: what is not named stays.
   */
  readonly encode: (
    credentials: Credentials.Credentials,
    section: JsonObject,
    context: EncodeContext
  ) => JsonObject
  /** Why these credentials must not be put there: see {@link FileFormat}. `path` is relative to the object. */
  readonly problem?: (
    credentials: Credentials.Credentials,
    section: JsonObject,
    context: EncodeContext
  ) => Option.Option<FormatProblem>
  /**
   * The object without the credentials; none where nothing is left of it. Unless given, the whole object
   * goes, and with it the file where it was the top level.
   */
  readonly clear?: (section: JsonObject) => Option.Option<JsonObject>
}

/**
 * What an encoder must know beside the credentials. `sameGrant`: whether the document holds an earlier state of
 * the same grant. Where it does not, what belongs to the grant that was there must go with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface EncodeContext {
  readonly sameGrant: boolean
}

/**
 * Whether an entry is the next state of the grant that is there.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSameGrant = (entry: Entry.Entry, previous: Option.Option<Entry.Entry>): boolean =>
  Option.exists(previous, ({ family }) => family === entry.family)

/**
 * Why an entry is not put into a document: see {@link FileFormat}. For those who implement storages.
 *
 * @since 0.1.0
 * @category utils
 */
export const refusal = (
  format: FileFormat,
  document: JsonObject,
  entry: Entry.Entry,
  previous: Option.Option<Entry.Entry>
): Option.Option<FormatProblem> =>
  format.problem?.(entry, document, { sameGrant: isSameGrant(entry, previous) }) ?? Option.none()

/**
 * Another program's file. What that program keeps in it stays; what we must know beyond its credentials
 * (family, generation, fence, journal, identity) is kept under a top-level key `latchkey`.
 *
 * A file without that key, or with one that speaks of another grant because its own program has logged in
 * or rotated since, loads as a first entry of generation 0.
 *
 * @since 0.1.0
 * @category formats
 */
export const foreign = (options: ForeignOptions): FileFormat => ({
  decode: (document, now) =>
    Either.gen(function* () {
      const section = yield* sectionAt(document, options.at)
      if (Option.isNone(section)) return Option.none()
      const found = yield* Either.mapLeft(options.decode(section.value, now), under(options.at))
      if (Option.isNone(found)) return Option.none()
      const badType = Credentials.tokenTypeNameProblem(found.value.tokenType)
      if (Option.isSome(badType))
        return yield* Either.left(malformed([...options.at, "the token type"], badType.value))
      const journal = yield* readJournal(document["latchkey"])
      return Option.some(yield* withJournal(found.value, journal, options, now))
    }),
  encode: (document, entry, revision, previous = Option.none()) => {
    const section = sectionOr(document, options.at)
    const context = { sameGrant: isSameGrant(entry, previous) }
    const changes = options.encode(entry.credentials, section, context)
    return {
      ...put(document, options.at, merge(section, changes)),
      latchkey: makeJournal(entry, revision, options.derivesExpiry === true)
    }
  },
  ...(options.problem !== undefined && {
    problem: (entry: Entry.Entry, document: JsonObject, context: EncodeContext) =>
      Option.map(
        options.problem!(entry.credentials, sectionOr(document, options.at), context),
        under(options.at)
      )
  }),
  clear: (document) => {
    const section = Option.flatten(Either.getRight(sectionAt(document, options.at)))
    const left = Option.flatMap(section, options.clear ?? (() => Option.none<JsonObject>()))
    if (Option.isNone(left) && options.at.length === 0) return Option.none()
    const { latchkey: _, ...rest } = put(document, options.at, Option.getOrUndefined(left))
    return Object.keys(rest).length === 0 ? Option.none() : Option.some(rest)
  }
})

const malformed = (path: ReadonlyArray<string>, problem: string): FormatProblem => ({
  reason: "Malformed",
  path: path.length === 0 ? "(the document)" : path.join("."),
  problem
})

const under =
  (at: ReadonlyArray<string>) =>
  (problem: FormatProblem): FormatProblem => ({ ...problem, path: [...at, problem.path].join(".") })

const sectionAt = (
  document: JsonObject,
  at: ReadonlyArray<string>
): Either.Either<Option.Option<JsonObject>, FormatProblem> => {
  let section = document
  for (const [depth, key] of at.entries()) {
    const next = Object.hasOwn(section, key) ? section[key] : undefined
    if (next === undefined || next === null) return Either.right(Option.none())
    if (!isObject(next)) return Either.left(malformed(at.slice(0, depth + 1), "is no object"))
    section = next
  }
  return Either.right(Option.some(section))
}

/** The object there, an empty one where there is none. */
const sectionOr = (document: JsonObject, at: ReadonlyArray<string>): JsonObject =>
  Option.getOrElse(Option.flatten(Either.getRight(sectionAt(document, at))), (): JsonObject => ({}))

const put = (document: JsonObject, at: ReadonlyArray<string>, value: JsonObject | undefined): JsonObject => {
  const [key, ...rest] = at
  if (key === undefined) return value ?? {}
  const { [key]: inner, ...others } = document
  if (rest.length > 0) return { ...document, [key]: put(isObject(inner) ? inner : {}, rest, value) }
  return value === undefined ? others : { ...document, [key]: value }
}

const merge = (old: JsonObject, changes: JsonObject): JsonObject => {
  const merged: Record<string, unknown> = { ...old }
  for (const [key, value] of Object.entries(changes)) {
    const before = merged[key]
    if (value === undefined) delete merged[key]
    else merged[key] = isObject(value) && isObject(before) ? merge(before, value) : value
  }
  return merged
}

const makeJournal = (entry: Entry.Entry, revision: string, derivesExpiry: boolean): JsonObject => {
  const record = Entry.toJson(entry)
  const { accessToken, expiresAt, obtainedAt, refreshAt, serverTime } = entry.credentials
  return {
    format: Entry.formatVersion,
    revision,
    grant: Entry.grantFingerprint(entry.credentials),
    access: Fingerprint.of(accessToken),
    ...(Option.isSome(obtainedAt) ? { obtainedAt: obtainedAt.value } : {}),
    ...(derivesExpiry && Option.isSome(expiresAt) ? { expiresAt: expiresAt.value } : {}),
    ...(Option.isSome(serverTime) ? { serverTime: serverTime.value } : {}),
    ...(Option.isSome(refreshAt) ? { refreshAt: refreshAt.value } : {}),
    ...Object.fromEntries(journalKeys.flatMap((key) => (key in record ? [[key, record[key]]] : [])))
  }
}

const readJournal = (value: unknown): Either.Either<JsonObject, FormatProblem> => {
  if (value === undefined) return Either.right({})
  if (!isObject(value)) return Either.left(malformed(["latchkey"], "is no object"))
  return typeof value["format"] === "number" && value["format"] > Entry.formatVersion
    ? Either.left({
        reason: "NewerFormat",
        path: "latchkey.format",
        problem: `is format ${value["format"]}, this version reads up to ${Entry.formatVersion}: upgrade @latchkey`
      })
    : Either.right(value)
}

/** The entry's own codec judges both halves, so that a foreign file is held to the same rules as ours. */
const withJournal = (
  found: Credentials.Credentials,
  journal: JsonObject,
  { at, derivesExpiry = false }: Pick<ForeignOptions, "at" | "derivesExpiry">,
  now: number
): Either.Either<Entry.Entry, FormatProblem> =>
  Either.gen(function* () {
    const sameToken = journal["access"] === Fingerprint.of(found.accessToken)
    const noted = (key: string) =>
      Option.liftPredicate((v: unknown): v is number => sameToken && typeof v === "number")(journal[key])
    const credentials = new Credentials.Credentials({
      ...found,
      obtainedAt: Option.orElse(found.obtainedAt, () => noted("obtainedAt")),
      expiresAt: Option.orElse(derivesExpiry ? noted("expiresAt") : Option.none(), () => found.expiresAt),
      serverTime: Option.orElse(found.serverTime, () => noted("serverTime")),
      refreshAt: Option.orElse(found.refreshAt, () => noted("refreshAt"))
    })
    const record = yield* Either.try({
      try: () => Entry.toJson(Entry.first(credentials, 0)),
      catch: () => malformed(at, "holds a token that is blank or none, or a time that is no number")
    })
    const sameGrant = journal["grant"] === Entry.grantFingerprint(credentials)
    const keys = sameGrant ? journalKeys : ["fence"]
    const known = keys.flatMap((key) => (key in journal ? [[key, journal[key]] as const] : []))
    return yield* Either.mapLeft(
      Entry.fromJson({ ...record, ...Object.fromEntries(known) }, now),
      (p): FormatProblem => ({
        ...p,
        path: `${journalKeys.includes(p.path.split(".")[0] ?? "") ? "latchkey" : at.join(".")}.${p.path}`
      })
    )
  })
