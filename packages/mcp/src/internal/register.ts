/** Sends the request of a dynamic registration (RFC 7591 §3). */
import * as Answer from "@latchkey/oauth/Answer"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type { OAuthError } from "@latchkey/oauth/OAuthError"
import type * as Server from "@latchkey/oauth/Server"
import type * as Wire from "@latchkey/oauth/Wire"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as oauth from "oauth4webapi"
import { McpError } from "../McpError.js"
import * as Registration from "../Registration.js"

export const problem = (serverUrl: URL, message: string): McpError =>
  new McpError({ reason: "Registration", serverUrl: Endpoint.display(serverUrl), message })

export interface Asked {
  readonly serverUrl: URL
  readonly wire: Wire.Wire
  readonly metadata: Server.Metadata
  readonly endpoint: string
  readonly body: Readonly<Record<string, unknown>>
  readonly redirectUris: ReadonlyArray<string>
  readonly grantTypes: ReadonlyArray<string>
}

export const register = (asked: Asked): Effect.Effect<Registration.Registered, McpError | OAuthError> =>
  Effect.gen(function* () {
    const { body, endpoint, grantTypes, metadata, redirectUris, serverUrl, wire } = asked
    const answer = yield* wire.send((options) =>
      options[oauth.customFetch](endpoint, {
        method: "POST",
        headers: { accept: "application/json", "content-type": "application/json" },
        body: JSON.stringify(body),
        redirect: "manual"
      })
    )
    if (!Answer.isOk(answer)) {
      const error = Answer.toError(answer)
      if (error.reason === "Transient" || error.reason === "MaybeSent") return yield* error
      return yield* problem(
        serverUrl,
        `${metadata.issuer} did not register this client: ${error.message} Register a client there, and set it as \`client\`.`
      )
    }
    if (Option.isSome(answer.cut)) return yield* answer.cut.value
    const read = Either.flatMap(Answer.json(answer), (response) =>
      Registration.fromResponse(response, { grantTypes, redirectUris, metadata })
    )
    return Either.isRight(read)
      ? read.right
      : yield* problem(serverUrl, `The registration response of ${metadata.issuer} ${read.left}.`)
  })
