/** The part of `oidc-provider` that the tests use. The package has no types. */
declare module "oidc-provider" {
  import type { IncomingMessage, ServerResponse } from "node:http"

  export interface Context {
    readonly oidc: {
      readonly route: string
      readonly params: Record<string, string>
      readonly client: object
    }
    readonly req: IncomingMessage
    readonly request: { readonly header: Record<string, string | undefined>; readonly path: string }
    readonly path: string
    status: number
    body: unknown
    set(name: string, value: string): void
  }

  export interface Grant {
    addOIDCScope(scope: string): void
    addResourceScope(resource: string, scope: string): void
    save(): Promise<string>
  }

  export interface Token {
    save(): Promise<string>
    consume(): Promise<void>
  }

  export class Provider {
    constructor(issuer: string, configuration: Record<string, unknown>)
    readonly issuer: string
    callback(): (req: IncomingMessage, res: ServerResponse) => void
    use(middleware: (ctx: Context, next: () => Promise<void>) => Promise<void>): void
    on(event: string, listener: (...args: Array<never>) => void): this
    readonly Client: { find(id: string): Promise<object | undefined> }
    readonly Grant: new (properties: Record<string, unknown>) => Grant
    readonly RefreshToken: {
      new (properties: Record<string, unknown>): Token
      find(value: string): Promise<{ readonly consumed?: unknown; readonly grantId: string } | undefined>
      revokeByGrantId(grantId: string): Promise<void>
    }
    readonly ClientCredentials: new (properties: Record<string, unknown>) => Token
    registerGrantType(
      name: string,
      handler: (ctx: Context) => Promise<void>,
      parameters: ReadonlyArray<string>
    ): void
    readonly AccessToken: {
      new (properties: Record<string, unknown>): Token
      find(value: string): Promise<
        | {
            destroy(): Promise<void>
            readonly jti: string
            readonly clientId: string
            readonly scopes: ReadonlySet<string>
            readonly exp: number
          }
        | undefined
      >
      revokeByGrantId(grantId: string): Promise<void>
    }
  }

  export default Provider
}
