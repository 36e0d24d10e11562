/**
 * The exit codes of the command. They are stable: scripts may rely on them.
 *
 * @since 0.1.0
 */

/**
 * - `ok`: done. For `status` and `list`: every account is valid or can be refreshed.
 * - `failed`: `doctor` found a problem, or something failed that has no code of its own.
 * - `usage`: the arguments are invalid, or name no account, or more than one.
 * - `loginRequired`: only a new login helps.
 * - `tryLater`: there is no valid token now, but there may be one later: the server, the network, a
 *   cool-down.
 * - `storage`: the credentials or the keychain cannot be read or written.
 * - `configuration`: a setting, the client or the providers file is wrong, or the stored grant belongs to
 *   another server, client or account (`GrantMismatch`).
 * - `loginFailed`: the login was refused, timed out, or was cancelled.
 * - `exec`: `exec` could not start its command. The reason is on stderr.
 * - `notExecutable`, `notFound`: `exec` found its command not executable, or not at all.
 * - `interrupted`, `terminated`: Ctrl-C, or a request to end.
 *
 * `exec` ends with its command's own code, or with 128 plus the signal's number if a signal ended it.
 *
 * @since 0.1.0
 * @category constants
 */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  loginRequired: 3,
  tryLater: 4,
  storage: 5,
  configuration: 6,
  loginFailed: 7,
  exec: 125,
  notExecutable: 126,
  notFound: 127,
  interrupted: 130,
  terminated: 143
} as const

/**
 * @since 0.1.0
 * @category models
 */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]
