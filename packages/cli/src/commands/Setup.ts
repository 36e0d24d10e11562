/**
 * `latchkey setup PROGRAM ACCOUNT`: prints the settings with which another program gets its tokens from
 * Latchkey, or writes them with `--write`. Settings of others stay as they are.
 *
 * @since 3.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import * as Path from "node:path"
import * as Account from "../Account.js"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as ConfigFile from "../internal/configFile.js"
import * as Output from "../Output.js"
import * as Paths from "../Paths.js"
import type { Services } from "../Run.js"
import * as ServedHost from "../ServedHost.js"
import * as Session from "../Session.js"
import * as SetupPlan from "../SetupPlan.js"
import { Workspace } from "../Workspace.js"

/**
 * `directory` is where a script for Docker goes, which must be in `PATH`.
 *
 * @since 3.1.0
 * @category models
 */
export interface Options {
  readonly program: string
  readonly account: string
  readonly host: Option.Option<string>
  readonly username: Option.Option<string>
  readonly bearer: boolean
  readonly directory: Option.Option<string>
  readonly write: boolean
  readonly json: boolean
}

/**
 * @since 3.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const program = yield* SetupPlan.parse(options.program)
    const account = Account.idOf(yield* Session.find(options.account))
    const named = yield* SetupPlan.hostFor(program, account, options.host)
    const host = named === "" ? "" : yield* ServedHost.parseHost(named)
    yield* checked(options)
    const plan = SetupPlan.make(
      program,
      { account, host, username: options.username, bearer: options.bearer },
      yield* places(options)
    )
    const { paths } = yield* Workspace
    if (!options.write) return yield* shown(plan, options.json, paths)
    const changed = yield* written(plan)
    const files = plan.files.map(({ path }, at) => ({ path, changed: changed[at]! }))
    if (options.json) yield* Output.printJson({ program, account, files })
    else {
      yield* Output.say(
        ...files.map(
          ({ changed, path }) => `${Paths.shorten(paths, path)}: ${changed ? "written" : "nothing to do"}`
        )
      )
    }
    yield* remaining(plan, options)
    return ExitCode.ok
  })

const checked = ({ bearer, program, username }: Options) =>
  Effect.gen(function* () {
    if (Option.exists(username, (name) => !/^[A-Za-z0-9._@+-]{1,200}$/.test(name))) {
      return yield* Failure.usage(
        "The user name has characters that are special in settings.",
        "--username NAME"
      )
    }
    if (bearer && program !== "git") {
      return yield* Failure.usage("--bearer is for git only.", `latchkey setup ${program} --help`)
    }
  })

const variable = (name: string) =>
  Effect.mapError(Config.withDefault(Config.string(name), ""), (error) =>
    Failure.configuration(Failure.configProblem(error))
  )

/** The places that the programs document for their settings. */
const places = ({ directory }: Options) =>
  Effect.gen(function* () {
    const { paths } = yield* Workspace
    const { home } = paths
    if (home === undefined) {
      return yield* Failure.configuration("This user has no home directory for settings.", "set HOME")
    }
    const xdg = yield* variable("XDG_CONFIG_HOME")
    const gitGlobal = yield* variable("GIT_CONFIG_GLOBAL")
    const docker = yield* variable("DOCKER_CONFIG")
    const kube = (yield* variable("KUBECONFIG")).split(Path.delimiter).filter((path) => path !== "")
    const gitHome = Path.join(home, ".gitconfig")
    const gitXdg = Path.join(Path.isAbsolute(xdg) ? xdg : Path.join(home, ".config"), "git", "config")
    return {
      // As `git config --global` chooses.
      gitConfig: gitGlobal !== "" ? gitGlobal : !existsSync(gitHome) && existsSync(gitXdg) ? gitXdg : gitHome,
      dockerConfig: Path.join(docker === "" ? Path.join(home, ".docker") : docker, "config.json"),
      kubeConfig: kube.find((path) => existsSync(path)) ?? kube.at(-1) ?? Path.join(home, ".kube", "config"),
      bazelConfig: Path.join(home, ".bazelrc"),
      scripts: Option.match(directory, {
        onNone: () => Path.join(home, ".local", "bin"),
        onSome: (path) => Path.resolve(path)
      }),
      helpers: Path.join(paths.data, "helpers")
    } satisfies SetupPlan.Places
  })

const shown = ({ files, then }: SetupPlan.Plan, json: boolean, paths: Paths.Paths) =>
  Effect.gen(function* () {
    if (json) {
      yield* Output.printJson({
        files: files.map(({ executable, lines, path }) => ({ path, executable, lines }))
      })
      return ExitCode.ok
    }
    for (const { executable, lines, path } of files) {
      const place = Paths.shorten(paths, path)
      yield* Output.say(executable ? `Save this as ${place}, executable:` : `Add this to ${place}:`)
      // Tabs are part of a settings file, and nothing here is foreign text.
      const { write } = yield* Output.Output
      yield* write(`${lines}\n`)
    }
    yield* Output.say(
      ...Option.match(then, { onNone: () => [], onSome: (command) => [`Then run: ${command}`] }),
      "Or let this command write it: --write"
    )
    return ExitCode.ok
  })

/** Every file is checked before the first one is written. */
const written = ({ files }: SetupPlan.Plan) =>
  Effect.gen(function* () {
    if (files.length > 1) yield* Effect.forEach(files, checkedFile, { discard: true })
    return yield* Effect.forEach(files, ({ change, executable, path }) =>
      ConfigFile.edit(path, executable ? 0o755 : 0o600, (text, real) => changeOf(change, path, text, real))
    )
  })

const checkedFile = ({ change, path }: SetupPlan.FilePlan) =>
  Effect.flatMap(ConfigFile.current(path), (text) => changeOf(change, path, text, path))

const changeOf = (
  change: SetupPlan.Change,
  path: string,
  text: Option.Option<string>,
  real: string
): Effect.Effect<Option.Option<string>, Failure.Failure> => {
  switch (change._tag) {
    case "Text":
      return Effect.gen(function* () {
        return yield* change.edit(text)
      })
    case "Git":
      return changedBy(text, real, (copy) => gitAdds(copy, path, change.key, change.helper))
    case "Kubectl":
      return changedBy(text, real, (copy) => kubectlAdds(copy, path, change.user, change.exec))
  }
}

const changedBy = (
  text: Option.Option<string>,
  real: string,
  use: (copy: string) => Effect.Effect<void, Failure.Failure>
) => Effect.asSome(ConfigFile.inCopy(real, text, use))

const gitAdds = (copy: string, path: string, key: string, helper: string) =>
  Effect.gen(function* () {
    const inFile = ["config", "--file", copy]
    // Its exit code is 1 if there is none.
    const { code, stdout } = yield* runs("git", [...inFile, "--includes", "--null", "--get-all", key])
    if (code > 1) return yield* refused("git", path)
    const helpers = stdout === "" ? [] : stdout.replace(/\0$/, "").split("\0")
    const state = SetupPlan.gitState(code === 1 ? [] : helpers, helper)
    if (state === "conflict") {
      return yield* SetupPlan.conflict(
        path,
        `it has other helpers for ${key}`,
        `remove them: git config --global --unset-all ${key}`
      )
    }
    if (state === "present") return
    for (const value of ["", helper]) {
      const added = yield* runs("git", [...inFile, "--add", key, value])
      if (added.code !== 0) return yield* refused("git", path)
    }
  })

const kubectlAdds = (copy: string, path: string, user: string, exec: SetupPlan.Exec) =>
  Effect.gen(function* () {
    const inFile = ["--kubeconfig", copy, "config"]
    const view = yield* runs("kubectl", [...inFile, "view", "--raw", "--output", "json"])
    if (view.code !== 0) return yield* refused("kubectl", path)
    const state = SetupPlan.kubectlState(view.stdout, user, exec)
    if (state === "conflict") {
      return yield* SetupPlan.conflict(
        path,
        `it has another user ${user}`,
        `remove it: kubectl config delete-user ${user}`
      )
    }
    if (state === "present") return
    const done = yield* runs("kubectl", [
      ...inFile,
      "set-credentials",
      user,
      `--exec-api-version=${exec.apiVersion}`,
      `--exec-command=${exec.command}`,
      ...exec.args.map((arg) => `--exec-arg=${arg}`),
      // `config set` cannot write this field. A kubectl that does not know the option changes nothing.
      `--exec-interactive-mode=${exec.interactiveMode}`
    ])
    if (done.code !== 0) return yield* refused("kubectl", path)
  })

/** What the program says may quote its file, which may hold secrets. */
const refused = (program: string, path: string): Failure.Failure =>
  Failure.configuration(
    `${program} could not read or change a copy of ${path}, which was not changed.`,
    `${program} config ${program === "git" ? "--global --list" : "view"}`,
    "Refused"
  )

/** How long such a program may take, in milliseconds. */
const patience = 60_000

const runs = (program: string, args: ReadonlyArray<string>) =>
  Effect.async<{ readonly code: number; readonly stdout: string }, Failure.Failure>((resume) => {
    execFile(program, [...args], { timeout: patience, maxBuffer: 16_777_216 }, (error, stdout) => {
      if (error === null) return resume(Effect.succeed({ code: 0, stdout }))
      resume(
        typeof error.code === "number"
          ? Effect.succeed({ code: error.code, stdout })
          : Effect.fail(
              Failure.configuration(
                `${program} cannot be run (${error.code ?? "it was stopped"}).`,
                `install ${program}; or add the lines by hand: leave out --write`,
                "NotFound"
              )
            )
      )
    })
  })

/** What only the user can do. */
const remaining = ({ files, then }: SetupPlan.Plan, { program }: Options) =>
  Effect.gen(function* () {
    if (Option.isSome(then)) yield* Output.say(`Now run: ${then.value}`)
    const folder = Path.dirname(files[0]!.path)
    const inPath = (yield* variable("PATH")).split(Path.delimiter).includes(folder)
    if (program === "docker" && !inPath) {
      yield* Output.say(`${folder} is not in PATH, so Docker does not find the helper: add it.`)
    }
  })
