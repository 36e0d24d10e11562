/** `@azure/identity`: a credential over its cache. Entra, which it needs, is imitated by the client of its pipeline. */
import { ClientSecretCredential, type ClientSecretCredentialOptions } from "@azure/identity"
import type { Open } from "../src/Peer.js"

const tenant = "00000000-0000-0000-0000-000000000001"
const authority = `https://login.example/${tenant}`

const answers = {
  issuer: `${authority}/v2.0`,
  authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
  token_endpoint: `${authority}/oauth2/v2.0/token`,
  jwks_uri: `${authority}/keys`,
  token_type: "Bearer",
  expires_in: 3600
}

const clientFor = (accessToken: string): NonNullable<ClientSecretCredentialOptions["httpClient"]> => ({
  sendRequest: (request) =>
    Promise.resolve({
      request,
      headers: request.headers,
      status: 200,
      bodyAsText: JSON.stringify({ ...answers, access_token: accessToken })
    })
})

export const open: Open = (server, held) => {
  const credential = new ClientSecretCredential(tenant, server.clientId, "a secret", {
    authorityHost: "https://login.example",
    disableInstanceDiscovery: true,
    httpClient: clientFor(held.accessToken)
  })
  const get = async () => (await credential.getToken("https://api.example/.default")).token
  return { get, refresh: get, held: () => held }
}
