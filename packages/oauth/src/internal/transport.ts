import { isHttpClientError, type HttpClientError } from "@effect/platform/HttpClientError"

/** Names of failures that occur before a byte of the request is sent: name, connection, TLS handshake. */
const beforeSending = new Set([
  "ENOTFOUND",
  "EAI_AGAIN",
  "EAI_FAIL",
  "EAI_NODATA",
  "EAI_NONAME",
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "EMFILE",
  "ENFILE",
  "UND_ERR_CONNECT_TIMEOUT",
  "ERR_INVALID_URL",
  "EPROTO",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "HOSTNAME_MISMATCH",
  "INVALID_CA",
  "PATH_LENGTH_EXCEEDED",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_CRL",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
])

/**
 * Without `WRONG_VERSION_NUMBER`, which also names garbled data after the handshake, and perhaps after the
 * request.
 */
const tlsHandshake =
  /^(CERT_|ERR_TLS_|ERR_SSL_(?!WRONG_VERSION)\w*(VERSION|HANDSHAKE|CERTIFICATE|UNKNOWN_CA|UNRECOGNIZED_NAME|PROTOCOL|CIPHER))/

/** What is safe to report about a failure below HTTP, and whether the request can have been sent. */
export interface TransportFailure {
  readonly sent: "no" | "maybe"
  readonly code: string | undefined
}

interface SystemError {
  readonly code?: unknown
  readonly syscall?: unknown
  readonly message?: unknown
  readonly cause?: unknown
  readonly errors?: unknown
}

/**
 * Classifies an error of any HTTP client by the codes in its chain of causes. With an unknown code, the
 * request may have been sent.
 */
export const transportFailure = (error: HttpClientError): TransportFailure =>
  error._tag === "RequestError" && error.reason !== "Transport"
    ? { sent: "no", code: error.reason }
    : inspect(error.cause, 6)

const inspect = (error: unknown, depth: number): TransportFailure => {
  const unknownFailure: TransportFailure = { sent: "maybe", code: undefined }
  if (depth === 0 || typeof error !== "object" || error === null) return unknownFailure
  if (isHttpClientError(error)) return transportFailure(error as HttpClientError)
  const { code, syscall, message, cause, errors } = error as SystemError
  // The address families were tried in turn. Nothing was sent only if none connected.
  if (Array.isArray(errors) && errors.length > 0) {
    const all = errors.map((e) => inspect(e, depth - 1))
    return all.find((f) => f.sent === "maybe") ?? all[0]!
  }
  if (typeof code === "string" && /^[A-Z][A-Z0-9_]{1,60}$/.test(code)) {
    const before =
      beforeSending.has(code) ||
      tlsHandshake.test(code) ||
      syscall === "connect" ||
      syscall === "getaddrinfo" ||
      (typeof message === "string" && message.includes("before secure TLS connection was established"))
    return { sent: before ? "no" : "maybe", code }
  }
  return cause === undefined ? unknownFailure : inspect(cause, depth - 1)
}
