/**
 * Parses a server's metadata document (RFC 8414 §2, OpenID Connect Discovery §3) field by field. A field that
 * violates the standard does no harm until it is needed.
 */
import * as Either from "effect/Either"
import type * as oauth from "oauth4webapi"

/**
 * A document whose known fields have the type of the standard. `unusable_fields` says why others are missing.
 */
export interface Metadata extends oauth.AuthorizationServer {
  readonly prompt_values_supported?: Array<string>
  readonly client_id_metadata_document_supported?: boolean
  readonly unusable_fields?: Readonly<Record<string, string>>
}

const endpoints = [
  "token_endpoint",
  "authorization_endpoint",
  "device_authorization_endpoint",
  "revocation_endpoint",
  "introspection_endpoint",
  "userinfo_endpoint",
  "pushed_authorization_request_endpoint",
  "registration_endpoint",
  "jwks_uri"
] as const

/** The name of an endpoint that a request may go to. */
export type EndpointField = (typeof endpoints)[number]

const lists = [
  "scopes_supported",
  "response_types_supported",
  "response_modes_supported",
  "grant_types_supported",
  "acr_values_supported",
  "subject_types_supported",
  "display_values_supported",
  "prompt_values_supported",
  "claim_types_supported",
  "claims_supported",
  "claims_locales_supported",
  "ui_locales_supported",
  "code_challenge_methods_supported",
  "dpop_signing_alg_values_supported",
  "authorization_signing_alg_values_supported",
  "authorization_encryption_alg_values_supported",
  "authorization_encryption_enc_values_supported",
  "id_token_signing_alg_values_supported",
  "id_token_encryption_alg_values_supported",
  "id_token_encryption_enc_values_supported",
  "userinfo_signing_alg_values_supported",
  "userinfo_encryption_alg_values_supported",
  "userinfo_encryption_enc_values_supported",
  "request_object_signing_alg_values_supported",
  "request_object_encryption_alg_values_supported",
  "request_object_encryption_enc_values_supported",
  "token_endpoint_auth_methods_supported",
  "token_endpoint_auth_signing_alg_values_supported",
  "revocation_endpoint_auth_methods_supported",
  "revocation_endpoint_auth_signing_alg_values_supported",
  "introspection_endpoint_auth_methods_supported",
  "introspection_endpoint_auth_signing_alg_values_supported",
  "introspection_signing_alg_values_supported",
  "introspection_encryption_alg_values_supported",
  "introspection_encryption_enc_values_supported"
] as const

const flags = [
  "claims_parameter_supported",
  "request_parameter_supported",
  "request_uri_parameter_supported",
  "require_request_uri_registration",
  "require_signed_request_object",
  "require_pushed_authorization_requests",
  "authorization_response_iss_parameter_supported",
  "client_id_metadata_document_supported",
  "tls_client_certificate_bound_access_tokens",
  "backchannel_logout_supported",
  "backchannel_logout_session_supported",
  "frontchannel_logout_supported",
  "frontchannel_logout_session_supported"
] as const

/** Parses a document of this issuer. `check` returns the problem with an endpoint that may not be used. */
export const parse = (
  document: Readonly<Record<string, unknown>>,
  issuer: string,
  check: (field: EndpointField, value: string) => Either.Either<unknown, string>
): Metadata => {
  const metadata: Record<string, unknown> = { ...document, issuer }
  const unusable: Record<string, string> = {}
  const refuse = (field: string, problem: string) => {
    delete metadata[field]
    unusable[field] = problem
  }
  for (const field of endpoints) {
    const value = metadata[field]
    if (value === undefined) continue
    // Some servers write null or an empty text for a field that they do not have.
    if (value === null || value === "") delete metadata[field]
    else if (typeof value !== "string") refuse(field, `${field} is not a string`)
    else Either.mapLeft(check(field, value), (problem) => refuse(field, problem))
  }
  for (const field of lists) if (!isList(metadata[field])) delete metadata[field]
  for (const field of flags) if (typeof metadata[field] !== "boolean") delete metadata[field]
  // Aliases for mutual TLS, which is not supported.
  delete metadata["mtls_endpoint_aliases"]
  delete metadata["unusable_fields"]
  return {
    ...metadata,
    ...(Object.keys(unusable).length > 0 && { unusable_fields: unusable }),
    issuer
  }
}

/** RFC 8414 §2: an empty list is left out. */
const isList = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string")
