/** The URLs of the hostile server and its resource. */
import type { Endpoint } from "./model.js"
import type { Endpoints } from "../../Server.js"

export const issuer = "https://as.hostile.test"
export const resource = "https://api.hostile.test/"
export const verificationUri = `${issuer}/device/verify`

export const endpoints = {
  issuer,
  tokenEndpoint: `${issuer}/token`,
  deviceAuthorizationEndpoint: `${issuer}/device`,
  revocationEndpoint: `${issuer}/revoke`,
  introspectionEndpoint: `${issuer}/introspect`,
  userinfoEndpoint: `${issuer}/userinfo`
} as const satisfies Endpoints

/** RFC 8414 §2. */
export const metadata = {
  issuer,
  token_endpoint: endpoints.tokenEndpoint,
  device_authorization_endpoint: endpoints.deviceAuthorizationEndpoint,
  revocation_endpoint: endpoints.revocationEndpoint,
  introspection_endpoint: endpoints.introspectionEndpoint,
  userinfo_endpoint: endpoints.userinfoEndpoint,
  response_types_supported: [],
  token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"]
}

const doors: Readonly<Record<string, Endpoint>> = {
  [`${issuer}/.well-known/openid-configuration`]: "discovery",
  [`${issuer}/.well-known/oauth-authorization-server`]: "discovery",
  [endpoints.tokenEndpoint]: "token",
  [endpoints.deviceAuthorizationEndpoint]: "device",
  [endpoints.revocationEndpoint]: "revocation",
  [endpoints.introspectionEndpoint]: "introspection",
  [endpoints.userinfoEndpoint]: "userinfo"
}

/** Returns the endpoint of a URL, if it is one. Everything at the resource's origin is the resource. */
export const endpointOf = (url: URL): Endpoint | undefined =>
  url.href.startsWith(resource) ? "resource" : doors[`${url.origin}${url.pathname}`]
