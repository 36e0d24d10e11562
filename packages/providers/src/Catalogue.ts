/**
 * More servers as settings, each with the source of its facts: what it does with a used refresh token, when an
 * unused grant ends, and where the server departs from the standard. Register a client of your own with the
 * server, and give its ID.
 *
 * ```ts
 * Providers.layer({ providers: { linear: { ...Catalogue.linear.settings, client: { id: "my-app" } } } })
 * ```
 *
 * The facts were gathered in November 2026, from the servers' documents and their users' reports. They drift:
 * everything is a default that you can replace.
 *
 * @since 0.1.0
 */
import type { Encoded } from "./ProviderSettings.js"

/**
 * A server of the catalogue.
 *
 * @since 0.1.0
 * @category models
 */
export interface Item {
  readonly settings: Encoded
  /** Where the server's own documents say so. */
  readonly source: string
  /** After how many days without a refresh the grant ends. Undefined: not published. */
  readonly idleDays?: number
  /** After how many days the grant ends in any case. Undefined: not published. */
  readonly lifeDays?: number
  /** Where `idleDays` and `lifeDays` are from. */
  readonly endSource?: string
  /** What else to know, in a sentence. */
  readonly note?: string
}

const rotating = (window: string) => ({ policy: "rotating", window }) as const
const reusable = { policy: "reusable" } as const

/**
 * Linear. Access tokens live for 24 hours, and scopes are separated by commas. After a refresh, the previous
 * refresh token gives the same answer for 30 minutes.
 *
 * @since 0.1.0
 * @category servers
 */
export const linear: Item = {
  settings: {
    displayName: "Linear",
    server: {
      authorizationEndpoint: "https://linear.app/oauth/authorize",
      tokenEndpoint: "https://api.linear.app/oauth/token",
      revocationEndpoint: "https://api.linear.app/oauth/revoke"
    },
    scopes: ["read"],
    token: { scopeSeparator: "," },
    rotation: rotating("30 minutes")
  },
  source: "https://linear.app/developers/oauth-2-0-authentication"
}

/**
 * Bitbucket Cloud. Its tokens are longer than 2,500 characters: a column or a cookie of 2,048 cuts them.
 *
 * @since 0.1.0
 * @category servers
 */
export const bitbucket: Item = {
  settings: {
    displayName: "Bitbucket",
    server: {
      authorizationEndpoint: "https://bitbucket.org/site/oauth2/authorize",
      tokenEndpoint: "https://bitbucket.org/site/oauth2/access_token"
    },
    client: { authentication: "basic" },
    login: { ways: ["browser"] },
    refresh: { keepAlive: "75 days" },
    rotation: rotating("10 minutes")
  },
  source: "https://developer.atlassian.com/cloud/bitbucket/oauth-2/",
  idleDays: 90,
  endSource:
    "https://community.developer.atlassian.com/t/oauth-2-0-and-api-authentication-changes-for-bitbucket-cloud/99003",
  note: "The scopes are those of the consumer, and a login does not name them."
}

/**
 * Atlassian (Jira, Confluence) by OAuth 2.0 (3LO). The scope `offline_access` brings a refresh token. It
 * answers 403 where the standard says 400.
 *
 * @since 0.1.0
 * @category servers
 */
export const atlassian: Item = {
  settings: {
    displayName: "Atlassian",
    server: {
      authorizationEndpoint: "https://auth.atlassian.com/authorize",
      tokenEndpoint: "https://auth.atlassian.com/oauth/token"
    },
    client: { authentication: "post" },
    scopes: ["read:me", "offline_access"],
    login: { authorizationParameters: { audience: "api.atlassian.com", prompt: "consent" } },
    token: {
      errors: [
        { means: "dead", status: [400, 401, 403], path: ["error"], values: ["invalid_grant"] },
        { means: "dead", status: [403], contains: "Unknown or invalid refresh token" }
      ]
    },
    refresh: { keepAlive: "75 days" },
    rotation: rotating("10 minutes")
  },
  source:
    "https://community.developer.atlassian.com/t/the-old-access-token-will-be-revoked-during-the-refresh-token-exchange/83103",
  idleDays: 90,
  lifeDays: 365,
  endSource:
    "https://community.developer.atlassian.com/t/updated-31-january-2022-action-required-deprecating-persistent-refresh-tokens/54172"
}

/**
 * Slack, for an app with token rotation. It calls the type of a token `bot` or `user`. Errors come with status
 * 200 and `"ok": false`.
 *
 * @since 0.1.0
 * @category servers
 */
export const slack: Item = {
  settings: {
    displayName: "Slack",
    server: {
      authorizationEndpoint: "https://slack.com/oauth/v2/authorize",
      tokenEndpoint: "https://slack.com/api/oauth.v2.access"
    },
    client: { authentication: "post" },
    login: { ways: ["browser"] },
    token: {
      scopeSeparator: ",",
      type: "Bearer",
      errors: [
        {
          means: "dead",
          path: ["error"],
          values: [
            "invalid_refresh_token",
            "token_revoked",
            "token_expired",
            "account_inactive",
            "invalid_auth"
          ]
        },
        { means: "misconfigured", path: ["error"], values: ["invalid_client_id", "bad_client_secret"] },
        { means: "transient", path: ["error"], values: ["ratelimited", "internal_error", "fatal_error"] }
      ]
    },
    account: { from: "response", path: ["team", "id"] },
    rotation: rotating("0 seconds")
  },
  source: "https://docs.slack.dev/authentication/using-token-rotation",
  note: "A login without bot scopes has its token inside authed_user, which this does not read."
}

/**
 * Salesforce. Its answers name no lifetime, so Latchkey refreshes when the API refuses the token. Set
 * `server.issuer` for a domain of your own.
 *
 * @since 0.1.0
 * @category servers
 */
export const salesforce: Item = {
  settings: {
    displayName: "Salesforce",
    server: {
      authorizationEndpoint: "https://login.salesforce.com/services/oauth2/authorize",
      tokenEndpoint: "https://login.salesforce.com/services/oauth2/token",
      revocationEndpoint: "https://login.salesforce.com/services/oauth2/revoke",
      userinfoEndpoint: "https://login.salesforce.com/services/oauth2/userinfo"
    },
    client: { authentication: "post" },
    scopes: ["api", "refresh_token"],
    account: { from: "response", path: ["id"] },
    refresh: { keepAlive: "24 days" },
    rotation: rotating("0 seconds"),
    profile: { from: "userinfo" }
  },
  source: "https://help.salesforce.com/s/articleView?id=xcloud.connected_app_limit_idle_ttl.htm",
  idleDays: 30,
  endSource: "https://help.salesforce.com/s/articleView?id=xcloud.connected_app_limit_idle_ttl.htm",
  note: "Rotation is a setting of the app. Without it the refresh token stays: set the policy to reusable."
}

/**
 * HubSpot. It reports a dead grant in a field of its own.
 *
 * @since 0.1.0
 * @category servers
 */
export const hubspot: Item = {
  settings: {
    displayName: "HubSpot",
    server: {
      authorizationEndpoint: "https://app.hubspot.com/oauth/authorize",
      tokenEndpoint: "https://api.hubapi.com/oauth/v1/token"
    },
    client: { authentication: "post" },
    scopes: ["oauth"],
    token: {
      errors: [{ means: "dead", path: ["status"], values: ["BAD_REFRESH_TOKEN", "BAD_AUTH_CODE"] }]
    },
    rotation: reusable
  },
  source: "https://developers.hubspot.com/docs/guides/api/app-management/oauth-tokens"
}

/**
 * Xero. If the answer to a refresh is lost, the refresh token may be sent again for 30 minutes.
 *
 * @since 0.1.0
 * @category servers
 */
export const xero: Item = {
  settings: {
    displayName: "Xero",
    server: {
      authorizationEndpoint: "https://login.xero.com/identity/connect/authorize",
      tokenEndpoint: "https://identity.xero.com/connect/token",
      revocationEndpoint: "https://identity.xero.com/connect/revocation"
    },
    client: { authentication: "basic" },
    scopes: ["openid", "profile", "email", "offline_access"],
    refresh: { keepAlive: "48 days" },
    rotation: rotating("30 minutes")
  },
  source: "https://developer.xero.com/faq/oauth2",
  idleDays: 60,
  endSource: "https://developer.xero.com/faq/oauth2"
}

/**
 * QuickBooks Online. Its refresh token changes about once a day. The previous one is good for a day.
 *
 * @since 0.1.0
 * @category servers
 */
export const quickbooks: Item = {
  settings: {
    displayName: "QuickBooks",
    server: {
      authorizationEndpoint: "https://appcenter.intuit.com/connect/oauth2",
      tokenEndpoint: "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer",
      revocationEndpoint: "https://developer.api.intuit.com/v2/oauth2/tokens/revoke"
    },
    client: { authentication: "basic" },
    scopes: ["com.intuit.quickbooks.accounting"],
    refresh: { keepAlive: "80 days" },
    rotation: rotating("24 hours")
  },
  source: "https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/faq",
  idleDays: 100,
  lifeDays: 1826,
  endSource: "https://blogs.a.intuit.com/2025/11/12/important-changes-to-refresh-token-policy"
}

/**
 * Zoho, in the data centre of the United States. Errors come with status 200. Replace the hosts for another
 * data centre.
 *
 * @since 0.1.0
 * @category servers
 */
export const zoho: Item = {
  settings: {
    displayName: "Zoho",
    server: {
      authorizationEndpoint: "https://accounts.zoho.com/oauth/v2/auth",
      tokenEndpoint: "https://accounts.zoho.com/oauth/v2/token",
      revocationEndpoint: "https://accounts.zoho.com/oauth/v2/token/revoke"
    },
    client: { authentication: "post" },
    login: { authorizationParameters: { access_type: "offline", prompt: "consent" } },
    token: {
      scopeSeparator: ",",
      errors: [
        { means: "dead", path: ["error"], values: ["invalid_code", "invalid_token"] },
        { means: "misconfigured", path: ["error"], values: ["invalid_client", "invalid_client_secret"] },
        { means: "transient", path: ["error"], values: ["access_denied", "Access Denied"] }
      ]
    },
    rotation: reusable
  },
  source: "https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html",
  note: "A grant may get ten access tokens in ten minutes, and a user has at most 20 refresh tokens."
}

/**
 * Notion. Requests are JSON, and the refresh token changes with each of them.
 *
 * @since 0.1.0
 * @category servers
 */
export const notion: Item = {
  settings: {
    displayName: "Notion",
    server: {
      authorizationEndpoint: "https://api.notion.com/v1/oauth/authorize",
      tokenEndpoint: "https://api.notion.com/v1/oauth/token"
    },
    client: { authentication: "basicRaw" },
    login: { authorizationParameters: { owner: "user" } },
    token: { encoding: "json", defaultType: "Bearer" },
    account: { from: "response", path: ["bot_id"] },
    rotation: rotating("0 seconds")
  },
  source: "https://developers.notion.com/reference/refresh-a-token",
  note: "Answers name no lifetime: Latchkey refreshes when the API refuses the token."
}

/**
 * Spotify. A client with a secret keeps its refresh token; a client without one gets a new one each time.
 *
 * @since 0.1.0
 * @category servers
 */
export const spotify: Item = {
  settings: {
    displayName: "Spotify",
    server: {
      authorizationEndpoint: "https://accounts.spotify.com/authorize",
      tokenEndpoint: "https://accounts.spotify.com/api/token"
    },
    scopes: ["user-read-email"],
    rotation: rotating("0 seconds"),
    profile: { endpoint: "https://api.spotify.com/v1/me", accountId: ["id"], displayName: [["display_name"]] }
  },
  source: "https://developer.spotify.com/documentation/web-api/tutorials/refreshing-tokens"
}

/**
 * Twitch. Scopes come as a list, and an error as a text in `message`.
 *
 * @since 0.1.0
 * @category servers
 */
export const twitch: Item = {
  settings: {
    displayName: "Twitch",
    server: {
      authorizationEndpoint: "https://id.twitch.tv/oauth2/authorize",
      tokenEndpoint: "https://id.twitch.tv/oauth2/token",
      revocationEndpoint: "https://id.twitch.tv/oauth2/revoke",
      deviceAuthorizationEndpoint: "https://id.twitch.tv/oauth2/device"
    },
    client: { authentication: "post" },
    login: { ways: ["browser", "device"] },
    token: {
      errors: [
        { means: "dead", status: [400, 401], path: ["message"], values: ["Invalid refresh token"] },
        { means: "misconfigured", path: ["message"], values: ["invalid client", "invalid client secret"] }
      ]
    },
    rotation: reusable
  },
  source: "https://dev.twitch.tv/docs/authentication/refresh-tokens/",
  note: "The refresh token of a client without a secret works once and for 30 days: set the policy to rotating."
}

/**
 * Shopify, for a shop such as `my-shop`. Expiring offline tokens live for an hour. A used refresh token may be
 * sent again until its replacement is used, for at most 30 days.
 *
 * @since 0.1.0
 * @category servers
 */
export const shopify = (shop: string): Item => ({
  settings: {
    displayName: "Shopify",
    server: {
      authorizationEndpoint: `https://${shop}.myshopify.com/admin/oauth/authorize`,
      tokenEndpoint: `https://${shop}.myshopify.com/admin/oauth/access_token`
    },
    client: { authentication: "post" },
    login: { ways: ["browser"] },
    token: { scopeSeparator: ",", defaultType: "Bearer", parameters: { expiring: "1" } },
    refresh: { keepAlive: "75 days" },
    rotation: rotating("30 days")
  },
  source: "https://shopify.dev/changelog/more-resilient-refreshes-for-expiring-offline-access-tokens",
  idleDays: 90,
  endSource:
    "https://community.shopify.dev/t/expiring-offline-access-tokens-required-for-new-public-apps-as-of-april-1/32607",
  note: "The API wants the token in X-Shopify-Access-Token."
})

/**
 * Auth0, for a domain such as `acme.eu.auth0.com`. The window is the leeway of the application.
 *
 * @since 0.1.0
 * @category servers
 */
export const auth0 = (domain: string): Item => ({
  settings: {
    displayName: "Auth0",
    server: { issuer: `https://${domain}/` },
    scopes: ["openid", "profile", "email", "offline_access"],
    refresh: { keepAlive: "12 days" },
    rotation: rotating("0 seconds"),
    profile: { from: "userinfo" }
  },
  source: "https://auth0.com/docs/secure/tokens/refresh-tokens/configure-refresh-token-rotation",
  idleDays: 15,
  lifeDays: 30,
  endSource: "https://auth0.com/docs/secure/tokens/refresh-tokens/configure-refresh-token-expiration"
})

/**
 * Okta, for a domain such as `acme.okta.com`, and the ID of an authorization server.
 *
 * @since 0.1.0
 * @category servers
 */
export const okta = (domain: string, authorizationServer = "default"): Item => ({
  settings: {
    displayName: "Okta",
    server: { issuer: `https://${domain}/oauth2/${authorizationServer}` },
    scopes: ["openid", "profile", "email", "offline_access"],
    refresh: { keepAlive: "5 days" },
    rotation: rotating("30 seconds"),
    profile: { from: "userinfo" }
  },
  source: "https://developer.okta.com/docs/guides/refresh-tokens/main/",
  idleDays: 7,
  endSource:
    "https://registry.terraform.io/providers/okta/okta/4.11.1/docs/resources/auth_server_policy_rule#refresh_token_window_minutes",
  note: "The window and the days are settings of the application and of its access policy."
})

/**
 * Keycloak, for a realm at an address such as `https://id.example.com`. `offline_access` makes the grant
 * independent of the user's session.
 *
 * @since 0.1.0
 * @category servers
 */
export const keycloak = (address: string, realm: string): Item => ({
  settings: {
    displayName: "Keycloak",
    server: { issuer: `${address.replace(/\/$/, "")}/realms/${realm}` },
    scopes: ["openid", "profile", "email", "offline_access"],
    refresh: { keepAlive: "24 days" },
    rotation: rotating("0 seconds"),
    profile: { from: "userinfo" }
  },
  source: "https://www.keycloak.org/docs/latest/server_admin/#_timeouts",
  idleDays: 30,
  endSource:
    "https://github.com/keycloak/keycloak/blob/main/server-spi-private/src/main/java/org/keycloak/models/Constants.java",
  note: "Without revocation of refresh tokens in the realm, a used one stays valid, which this does not rely on."
})

/**
 * Amazon Cognito, for a region and a user pool. The window is a setting of the app client, 0 to 60 seconds.
 * Without rotation, the refresh token stays.
 *
 * @since 0.1.0
 * @category servers
 */
export const cognito = (region: string, pool: string): Item => ({
  settings: {
    displayName: "Cognito",
    server: { issuer: `https://cognito-idp.${region}.amazonaws.com/${pool}` },
    scopes: ["openid", "profile", "email"],
    rotation: rotating("0 seconds"),
    profile: { from: "userinfo" }
  },
  source:
    "https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_RefreshTokenRotationType.html",
  lifeDays: 30,
  endSource:
    "https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-refresh-token.html"
})

/**
 * Those that need no name of a tenant, by ID.
 *
 * @since 0.1.0
 * @category servers
 */
export const items: Readonly<Record<string, Item>> = {
  atlassian,
  bitbucket,
  hubspot,
  linear,
  notion,
  quickbooks,
  salesforce,
  slack,
  spotify,
  twitch,
  xero,
  zoho
}
