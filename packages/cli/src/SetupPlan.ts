/**
 * What `latchkey setup` adds to the settings of another program: the lines, the file that they belong to,
 * and the changed file. Pure.
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Path from "node:path"
import { configuration, type Failure, usage } from "./Failure.js"
import { apiVersion } from "./KubectlCredential.js"
import { isLoopback } from "./ServedHost.js"
import { shellWord } from "./TokenFormats.js"

/**
 * - `account`: `provider/name`.
 * - `host`: the host that may have the token. kubectl has no use for it.
 *
 * @since 3.1.0
 * @category models
 */
export interface Request {
  readonly account: string
  readonly host: string
  readonly username: Option.Option<string>
  readonly bearer: boolean
}

/**
 * Where the programs have their settings. `scripts` is a folder in `PATH`, and `helpers` one of our own.
 *
 * @since 3.1.0
 * @category models
 */
export interface Places {
  readonly gitConfig: string
  readonly dockerConfig: string
  readonly kubeConfig: string
  readonly bazelConfig: string
  readonly scripts: string
  readonly helpers: string
}

/**
 * How a file changes. `Text` returns the new text, or none if everything is there already. The other two are
 * made by the program itself, which knows its own syntax, in a copy of the file.
 *
 * @since 3.1.0
 * @category models
 */
export type Change =
  | {
      readonly _tag: "Text"
      readonly edit: (text: Option.Option<string>) => Either.Either<Option.Option<string>, Failure>
    }
  | { readonly _tag: "Git"; readonly key: string; readonly helper: string }
  | { readonly _tag: "Kubectl"; readonly user: string; readonly exec: Exec }

/**
 * One file. `lines` is what a user adds by hand.
 *
 * @since 3.1.0
 * @category models
 */
export interface FilePlan {
  readonly path: string
  readonly executable: boolean
  readonly lines: string
  readonly change: Change
}

/**
 * The files, and what remains for the user to do.
 *
 * @since 3.1.0
 * @category models
 */
export interface Plan {
  readonly files: ReadonlyArray<FilePlan>
  readonly then: Option.Option<string>
}

type Make = (request: Request, places: Places) => Plan

/** The arguments of the helper, before the action that the program adds. */
const helperOf = (protocol: string, { account, bearer, host, username }: Request): string =>
  [
    "latchkey",
    "credential",
    protocol,
    "--for",
    `${host}=${account}`,
    ...Option.match(username, { onNone: () => [], onSome: (name) => ["--username", name] }),
    ...(bearer ? ["--bearer"] : [])
  ]
    .map(shellWord)
    .join(" ")

/**
 * The empty helper ends the list of those for all hosts, which would otherwise store the token
 * ([gitcredentials(7)](https://git-scm.com/docs/gitcredentials#Documentation/gitcredentials.txt-helper)).
 */
const git: Make = (request, { gitConfig }) => {
  const scheme = isLoopback(request.host) ? "http" : "https"
  const url = `${scheme}://${request.host}`
  const helper = `!${helperOf("git", request)}`
  return {
    files: [
      {
        path: gitConfig,
        executable: false,
        lines: `[credential "${url}"]\n\thelper =\n\thelper = ${helper}`,
        change: { _tag: "Git", key: `credential.${url}.helper`, helper }
      }
    ],
    then: Option.none()
  }
}

/**
 * Whether the helpers of a URL, in order, end in ours alone; or whether there are none. An empty one ends
 * the list before it.
 *
 * @since 3.1.0
 * @category predicates
 */
export const gitState = (
  helpers: ReadonlyArray<string>,
  helper: string
): "present" | "absent" | "conflict" => {
  const last = helpers.lastIndexOf("")
  const inUse = helpers.slice(last + 1)
  if (inUse.length === 0) return "absent"
  return last !== -1 && inUse.length === 1 && inUse[0] === helper ? "present" : "conflict"
}

const marker = "# Written by latchkey setup, which may replace this file."

const script = (path: string, command: string): FilePlan => {
  const lines = `#!/bin/sh\n${marker}\nexec ${command} "$@"`
  const text = `${lines}\n`
  return {
    path,
    executable: true,
    lines,
    change: {
      _tag: "Text",
      edit: Option.match({
        onNone: () => Either.right(Option.some(text)),
        onSome: (found) => {
          if (found === text) return Either.right(Option.none())
          return found.split("\n")[1] === marker
            ? Either.right(Option.some(text))
            : Either.left(conflict(path, "it is another program", "move it away"))
        }
      })
    }
  }
}

const nameOf = (host: string): string => host.replace(/[^a-z0-9._-]/g, "-")

/** Docker finds a helper by its name in `PATH`, and passes nothing but the action. */
const docker: Make = (request, { dockerConfig, scripts }) => {
  const helper = `latchkey-${nameOf(request.host)}`
  return {
    files: [
      script(Path.join(scripts, `docker-credential-${helper}`), helperOf("docker", request)),
      {
        path: dockerConfig,
        executable: false,
        lines: JSON.stringify({ credHelpers: { [request.host]: helper } }, null, "\t"),
        change: { _tag: "Text", edit: dockerEdit(dockerConfig, request.host, helper) }
      }
    ],
    then: Option.none()
  }
}

const dockerEdit =
  (path: string, host: string, helper: string) =>
  (text: Option.Option<string>): Either.Either<Option.Option<string>, Failure> => {
    const source = Option.getOrElse(text, () => "")
    const config = source.trim() === "" ? {} : objectIn(source)
    const helpers = config === undefined ? undefined : (config["credHelpers"] ?? {})
    if (config === undefined || !isObject(helpers)) {
      return Either.left(conflict(path, "it is not what Docker writes", "mend it, or move it away"))
    }
    const found = Object.hasOwn(helpers, host) ? helpers[host] : undefined
    if (found === helper) return Either.right(Option.none())
    if (found !== undefined) {
      return Either.left(
        conflict(path, `${host} has another helper in credHelpers`, "remove that entry first")
      )
    }
    // As Docker indents it, unless somebody else has formatted it.
    const indent = /^\s*\{\r?\n([ \t]+)"/.exec(source)?.[1] ?? "\t"
    const changed = { ...config, credHelpers: { ...helpers, [host]: helper } }
    return Either.right(Option.some(`${JSON.stringify(changed, null, indent)}\n`))
  }

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const objectIn = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Bazel takes the path of a helper and no arguments, so the host and the account are in a script. */
const bazel: Make = (request, { bazelConfig, helpers }) => {
  const path = Path.join(helpers, `bazel-${nameOf(request.host)}`)
  const pattern = `--credential_helper=${request.host.replace(/:\d+$/, "")}=`
  const line = `common ${/\s/.test(path) ? `"${pattern}${path}"` : pattern + path}`
  return {
    files: [
      script(path, helperOf("bazel", request)),
      {
        path: bazelConfig,
        executable: false,
        lines: line,
        change: {
          _tag: "Text",
          edit: (text) => {
            const source = Option.getOrElse(text, () => "")
            const lines = source.split(/\r?\n/).map((each) => each.trim())
            if (lines.includes(line)) return Either.right(Option.none())
            if (lines.some((each) => !each.startsWith("#") && each.includes(pattern))) {
              return Either.left(
                conflict(bazelConfig, `it has another ${pattern}…`, "remove that line first")
              )
            }
            // A line that ends in a backslash goes on in the next one.
            const end = source === "" ? "" : source.endsWith("\n") ? "" : "\n"
            const gap = /\\\r?\n?$/.test(source) ? "\n" : ""
            return Either.right(Option.some(`${source}${end}${gap}${line}\n`))
          }
        }
      }
    ],
    then: Option.none()
  }
}

/**
 * A user of a kubeconfig that runs a program.
 *
 * @since 3.1.0
 * @category models
 */
export interface Exec {
  readonly apiVersion: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly interactiveMode: "Never"
}

const kubectl: Make = ({ account }, { kubeConfig }) => {
  const user = `latchkey-${account.replace(/[^A-Za-z0-9-]/g, "-")}`
  const exec: Exec = {
    apiVersion,
    command: "latchkey",
    args: ["token", account, "--format", "kubectl"],
    interactiveMode: "Never"
  }
  return {
    files: [
      {
        path: kubeConfig,
        executable: false,
        lines: [
          "users:",
          `  - name: ${user}`,
          "    user:",
          "      exec:",
          `        apiVersion: ${exec.apiVersion}`,
          `        command: ${exec.command}`,
          `        args: ${JSON.stringify(exec.args).replaceAll(",", ", ")}`,
          `        interactiveMode: ${exec.interactiveMode}`
        ].join("\n"),
        change: { _tag: "Kubectl", user, exec }
      }
    ],
    then: Option.some(`kubectl config set-context --current --user=${user}`)
  }
}

/**
 * Whether a kubeconfig, as `kubectl config view --raw -o json` prints it, has the user.
 *
 * @since 3.1.0
 * @category predicates
 */
export const kubectlState = (view: string, name: string, exec: Exec): "present" | "absent" | "conflict" => {
  const users = objectIn(view)?.["users"]
  const found = (Array.isArray(users) ? (users as ReadonlyArray<unknown>) : []).find(
    (each) => isObject(each) && each["name"] === name
  )
  if (!isObject(found)) return "absent"
  const user = isObject(found["user"]) ? found["user"] : {}
  const theirs = isObject(user["exec"]) ? user["exec"] : {}
  return Object.keys(user).length === 1 &&
    theirs["command"] === exec.command &&
    theirs["apiVersion"] === exec.apiVersion &&
    theirs["interactiveMode"] === exec.interactiveMode &&
    JSON.stringify(theirs["args"]) === JSON.stringify(exec.args)
    ? "present"
    : "conflict"
}

/**
 * The file has something of somebody else in the place of ours, and stays unchanged.
 *
 * @since 3.1.0
 * @category constructors
 */
export const conflict = (path: string, why: string, next: string): Failure =>
  configuration(`${path} was not changed: ${why}.`, next, "Conflict")

const makers = { git, docker, kubectl, bazel } as const

/** The hosts that a provider is known for, by program. */
const knownHosts: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  git: { github: "github.com" },
  docker: { github: "ghcr.io" }
}

/**
 * Returns the host for a program: the named one, or the one that the provider is known for.
 *
 * @since 3.1.0
 * @category getters
 */
export const hostFor = (
  program: string,
  account: string,
  named: Option.Option<string>
): Either.Either<string, Failure> => {
  const known = knownHosts[program]?.[account.split("/")[0]!]
  if (program === "kubectl") return Either.right("")
  return Either.fromOption(
    Option.orElse(named, () => Option.fromNullable(known)),
    () =>
      usage(
        `setup ${program} needs the host that may have the token.`,
        `latchkey setup ${program} ${account} --host HOST`
      )
  )
}

/**
 * Checks the name of a program.
 *
 * @since 3.1.0
 * @category parsing
 */
export const parse = (program: string): Either.Either<keyof typeof makers, Failure> =>
  Object.hasOwn(makers, program)
    ? Either.right(program as keyof typeof makers)
    : Either.left(
        usage(
          `Latchkey has no setup for ${JSON.stringify(program.slice(0, 40))}.`,
          `latchkey setup with one of ${Object.keys(makers).join(", ")}; or see latchkey token --help`
        )
      )

/**
 * @since 3.1.0
 * @category constructors
 */
export const make = (program: keyof typeof makers, request: Request, places: Places): Plan =>
  makers[program](request, places)
