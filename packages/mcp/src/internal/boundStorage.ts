/** A storage for the grant of one MCP server. It neither loads nor replaces a grant for another server. */
import { type Credentials } from "@latchkey/core/Credentials"
import { StorageError, TokenStorage, type Versioned } from "@latchkey/core/TokenStorage"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Binding from "../Binding.js"
import * as Discovery from "../Discovery.js"

type Storage = Context.Tag.Service<TokenStorage>

export const make = (storage: Storage, serverUrl: URL): Storage =>
  TokenStorage.of({
    location: storage.location,
    load: Effect.filterOrFail(
      storage.load,
      Option.match({ onNone: () => true, onSome: ({ entry }) => isFor(entry.credentials, serverUrl) }),
      (loaded) => ofAnother(storage.location, loaded, serverUrl)
    ),
    commit: storage.commit,
    remove: storage.remove,
    changes: storage.changes
  })

const isFor = (credentials: Credentials, serverUrl: URL): boolean =>
  Option.exists(Binding.of(credentials), ({ resource }) => Discovery.covers(resource, serverUrl))

const ofAnother = (location: string, loaded: Option.Option<Versioned>, serverUrl: URL): StorageError =>
  new StorageError({
    reason: "WrongKey",
    operation: "load",
    location,
    message: `${location} holds a grant ${Option.match(
      Option.flatMap(loaded, ({ entry }) => Binding.of(entry.credentials)),
      {
        onNone: () => "that does not come from an MCP login",
        onSome: (binding) => `for ${Endpoint.display(binding.serverUrl)}`
      }
    )}, not one for ${Endpoint.display(serverUrl)}: it was not used. Give each MCP server its own place in storage.`
  })
