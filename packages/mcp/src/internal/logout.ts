/** Ends the grant at the server that issued it (RFC 7009), and removes it from the storage. */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import type * as ClientAuth from "@latchkey/oauth/ClientAuth"
import * as Revocation from "@latchkey/oauth/Revocation"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Binding from "../Binding.js"
import type { LoginFailure } from "../McpError.js"
import * as Registration from "../Registration.js"
import type * as discover from "./discover.js"
import type { Grant } from "./grant.js"

export interface Parts {
  readonly grant: Grant
  readonly serverOf: discover.Servers
  readonly options: Registration.Options & { readonly timeout?: Duration.DurationInput | undefined }
}

/** Returns whether there was a grant. */
export const logout = (parts: Parts): Effect.Effect<boolean, LoginFailure, HttpClient> =>
  Effect.gen(function* () {
    const { grant, options } = parts
    const credentials = yield* grant.manager.credentials
    const binding = Option.flatMap(credentials, Binding.of)
    const client = Option.flatMap(binding, Binding.client)
    if (Option.isSome(credentials) && Option.isSome(binding) && Option.isSome(client)) {
      yield* revoke(parts, credentials.value, binding.value, Registration.toClient(client.value, options))
    }
    return yield* grant.manager.clear
  })

const revoke = (
  { options, serverOf }: Parts,
  credentials: Credentials,
  { hasMetadata, issuer }: Binding.Binding,
  client: ClientAuth.Client
): Effect.Effect<void, LoginFailure, HttpClient> =>
  Effect.gen(function* () {
    const server = yield* serverOf(issuer, hasMetadata)
    const metadata = yield* server.metadata
    // An endpoint that is named but cannot be used is an error: otherwise the grant would live on unnoticed.
    if (!("revocation_endpoint" in { ...metadata.unusable_fields, ...metadata })) return
    const revocation = yield* Revocation.make({ server, client, timeout: options.timeout })
    yield* revocation.revoke(credentials)
  })
