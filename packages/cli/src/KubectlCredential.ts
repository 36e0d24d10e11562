/**
 * The protocol of kubectl's credential plugins: `KUBERNETES_EXEC_INFO` in, an `ExecCredential` out. Pure.
 *
 * See [client-go credential plugins](https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins)
 * and [the type](https://kubernetes.io/docs/reference/config-api/client-authentication.v1/).
 *
 * @since 3.1.0
 */
import * as Either from "effect/Either"
import { type Failure, usage } from "./Failure.js"
import * as HelperToken from "./HelperToken.js"

/**
 * The version that Latchkey configures.
 *
 * @since 3.1.0
 * @category constants
 */
export const apiVersion = "client.authentication.k8s.io/v1"

const known: ReadonlyArray<string> = [apiVersion, "client.authentication.k8s.io/v1beta1"]

/**
 * Returns the version that kubectl expects in the answer, from the value of `KUBERNETES_EXEC_INFO`. If that is
 * not set, kubectl is not the caller.
 */
const versionIn = (execInfo: string): Either.Either<string, Failure> => {
  if (execInfo === "") return Either.right(apiVersion)
  const found = versionField(execInfo)
  return found !== undefined && known.includes(found)
    ? Either.right(found)
    : Either.left(
        usage(
          "KUBERNETES_EXEC_INFO asks for no version of ExecCredential that exists here.",
          `in the kubeconfig, set apiVersion: ${apiVersion}`
        )
      )
}

const versionField = (text: string): string | undefined => {
  try {
    const info: unknown = JSON.parse(text)
    const version = (info as { readonly apiVersion?: unknown } | null)?.apiVersion
    return typeof version === "string" ? version : undefined
  } catch {
    return undefined
  }
}

/**
 * kubectl keeps the token until `expirationTimestamp`, or until the cluster answers 401.
 *
 * @since 3.1.0
 * @category answers
 */
export const answer = (token: HelperToken.HelperToken, execInfo: string): Either.Either<object, Failure> =>
  Either.flatMap(versionIn(execInfo), (version) =>
    Either.map(HelperToken.secretOf(token, "kubectl"), (secret) => ({
      apiVersion: version,
      kind: "ExecCredential",
      status: {
        ...HelperToken.expiry(token, (at) => ({ expirationTimestamp: HelperToken.timestamp(at) })),
        token: secret
      }
    }))
  )
