/**
 * The providers that come with the package, as settings. Everything here is a default that a providers file
 * or an environment variable can replace.
 *
 * @since 0.1.0
 */
import type { Encoded } from "./ProviderSettings.js"

/** The scopes that a Claude subscription grants. A login may request more, a refresh may not. */
const claudeSubscriptionScopes = [
  "user:profile",
  "user:inference",
  "user:sessions:claude_code",
  "user:mcp_servers",
  "user:file_upload"
]

/**
 * Claude, as Claude Code logs in to it: JSON bodies, the state in the code exchange, and `code#state` for the
 * user to paste.
 *
 * @since 0.1.0
 * @category providers
 */
export const claude: Encoded = {
  displayName: "Claude",
  name: "claude-api",
  server: {
    authorizationEndpoint: "https://claude.com/cai/oauth/authorize",
    tokenEndpoint: "https://platform.claude.com/v1/oauth/token",
    formerly: ["https://console.anthropic.com/v1/oauth/token"]
  },
  client: { id: "9d1c250a-e61b-44d9-88ed-5944d1962f5e" },
  scopes: ["org:create_api_key", ...claudeSubscriptionScopes],
  login: {
    ways: ["browser", "manual"],
    redirectUri: "http://localhost/callback",
    manualRedirectUri: "https://platform.claude.com/oauth/code/callback",
    authorizationParameters: { code: "true" },
    sendState: true
  },
  token: { encoding: "json", defaultType: "Bearer" },
  refresh: { sendScopes: true, scopes: claudeSubscriptionScopes },
  credentials: {
    format: "claude",
    file: "~/.claude/.credentials.json",
    directoryVariable: "CLAUDE_CONFIG_DIR",
    directoryForm: "NFC",
    keychainService: "Claude Code-credentials",
    keychainAccount: "claude-code-user",
    locks: [
      { path: ".oauth_refresh.lock", kind: "directory", during: "refresh", stale: "60 seconds" },
      { path: ".storage-write.lock", kind: "directory", during: "write", stale: "15 seconds" }
    ]
  },
  profile: {
    endpoint: "https://api.anthropic.com/api/oauth/profile",
    file: "~/.claude/.account.json",
    accountId: ["account", "uuid"],
    email: ["account", "email"],
    displayName: [
      ["account", "full_name"],
      ["account", "display_name"]
    ]
  }
}

/**
 * Codex, as its command logs in to it: the expiry from the access token, the account from OpenAI's own claim
 * in the ID token, single-use refresh tokens.
 *
 * @since 0.1.0
 * @category providers
 */
export const codex: Encoded = {
  displayName: "Codex",
  server: {
    authorizationEndpoint: "https://auth.openai.com/oauth/authorize",
    tokenEndpoint: "https://auth.openai.com/oauth/token"
  },
  client: { id: "app_EMoamEEZ73f0CkXaXp7hrann" },
  scopes: [
    ...["openid", "profile", "email", "offline_access"],
    ...["api.connectors.read", "api.connectors.invoke"]
  ],
  login: {
    ways: ["browser", "manual"],
    redirectUri: "http://localhost:1455/auth/callback",
    // Codex itself sends none, and gets its refresh token.
    promptForConsent: false
  },
  token: {
    defaultType: "Bearer",
    expiry: "accessToken",
    deadCodes: ["refresh_token_reused", "refresh_token_expired", "refresh_token_invalidated"]
  },
  refresh: { sendScopes: true },
  account: { from: "idToken", path: ["https://api.openai.com/auth", "chatgpt_account_id"] },
  credentials: {
    format: "codex",
    file: "~/.codex/auth.json",
    directoryVariable: "CODEX_HOME",
    keychainService: "Codex Auth",
    keychainName: "directory",
    storeSetting: { file: "config.toml", key: "cli_auth_credentials_store" },
    locks: [
      { path: "auth.json.lock", kind: "kernel", during: "both" },
      { path: "auth.lock", kind: "kernel", during: "both" }
    ]
  },
  profile: {
    from: "idToken",
    accountId: ["https://api.openai.com/auth", "chatgpt_account_id"]
  }
}

/**
 * Copilot: a long-lived GitHub token, stored as the refresh token, is exchanged for a service token of about
 * 25 minutes, which callers get.
 *
 * @since 0.1.0
 * @category providers
 */
export const copilot: Encoded = {
  displayName: "GitHub Copilot",
  server: {
    tokenEndpoint: "https://github.com/login/oauth/access_token",
    deviceAuthorizationEndpoint: "https://github.com/login/device/code"
  },
  client: { id: "Iv1.b507a08c87ecfe98" },
  scopes: ["read:user"],
  login: { ways: ["device"] },
  token: { defaultType: "bearer", scopeSeparator: "," },
  refresh: { by: "exchange", endpoint: "https://api.github.com/copilot_internal/v2/token" },
  rotation: { policy: "reusable" },
  credentials: {
    format: "copilot",
    file: "~/.config/copilot/credentials.json",
    importFrom: [
      "$XDG_CONFIG_HOME/github-copilot/apps.json",
      "$XDG_CONFIG_HOME/github-copilot/hosts.json",
      "~/.copilot/config.json"
    ]
  },
  profile: {
    endpoint: "https://api.github.com/user",
    token: "refreshToken",
    accountId: ["id"],
    email: ["email"],
    displayName: [["name"], ["login"]]
  }
}

/**
 * GitHub, for an app of your own. Apps whose tokens expire get single-use refresh tokens.
 *
 * @since 0.1.0
 * @category providers
 */
export const github: Encoded = {
  displayName: "GitHub",
  server: {
    authorizationEndpoint: "https://github.com/login/oauth/authorize",
    tokenEndpoint: "https://github.com/login/oauth/access_token",
    deviceAuthorizationEndpoint: "https://github.com/login/device/code"
  },
  scopes: ["read:user"],
  login: { ways: ["browser", "device", "manual"] },
  token: { scopeSeparator: ",", deadCodes: ["bad_refresh_token"] },
  // A refresh token ends after six months.
  refresh: { keepAlive: "150 days" },
  profile: {
    endpoint: "https://api.github.com/user",
    accountId: ["id"],
    email: ["email"],
    displayName: [["name"], ["login"]]
  }
}

/**
 * Google, by discovery, for a client of your own. Google has its own parameter for offline access.
 *
 * @since 0.1.0
 * @category providers
 */
export const google: Encoded = {
  displayName: "Google",
  server: { issuer: "https://accounts.google.com", discovery: "oidc" },
  client: { authentication: "post" },
  scopes: ["openid", "email", "profile"],
  login: {
    ways: ["browser", "device", "manual"],
    authorizationParameters: { access_type: "offline", prompt: "consent" }
  },
  // A grant ends if it is not used for six months. That of an app in testing ends after 7 days in any case.
  refresh: { keepAlive: "150 days" },
  rotation: { policy: "reusable" },
  profile: { from: "userinfo" }
}

/**
 * Gemini, as Gemini CLI logs in to it: Google's endpoints. Google requires the secret of that client with
 * every request, and the secret is not part of this package: set `LATCHKEY_GEMINI_CLIENT_SECRET`, or use a
 * client of your own.
 *
 * @since 0.1.0
 * @category providers
 */
export const gemini: Encoded = {
  displayName: "Gemini",
  server: {
    authorizationEndpoint: "https://accounts.google.com/o/oauth2/v2/auth",
    tokenEndpoint: "https://oauth2.googleapis.com/token",
    revocationEndpoint: "https://oauth2.googleapis.com/revoke",
    userinfoEndpoint: "https://openidconnect.googleapis.com/v1/userinfo"
  },
  client: {
    id: "681255809395-oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com",
    authentication: "post"
  },
  scopes: [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/userinfo.profile"
  ],
  login: {
    ways: ["browser", "manual"],
    redirectUri: "http://localhost/oauth2callback",
    authorizationParameters: { access_type: "offline", prompt: "consent" }
  },
  rotation: { policy: "reusable" },
  credentials: { format: "gemini", file: "~/.gemini/oauth_creds.json" },
  profile: { from: "userinfo" }
}

const signInSuberrors = [
  ...["bad_token", "token_expired", "basic_action", "additional_action", "message_only"],
  ...["consent_required", "user_password_expired", "client_mismatch"]
]

const signInCodes = [
  ...["50055", "50057", "50076", "50078", "50079", "50132", "50133", "50173", "65001"],
  ...["70008", "70043", "700082", "700084"]
]

/**
 * Microsoft Entra, for a client of your own. The endpoints are those of all tenants together, whose discovery
 * names a separate issuer for each tenant. Set `server.issuer`
 * (`https://login.microsoftonline.com/TENANT/v2.0`) to discover one tenant and check its ID tokens.
 *
 * @since 0.1.0
 * @category providers
 */
export const microsoft: Encoded = {
  displayName: "Microsoft",
  server: {
    authorizationEndpoint: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
    tokenEndpoint: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
    deviceAuthorizationEndpoint: "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
    userinfoEndpoint: "https://graph.microsoft.com/oidc/userinfo"
  },
  scopes: ["openid", "profile", "email", "offline_access"],
  login: { ways: ["browser", "device", "manual"], redirectUri: "http://localhost" },
  token: {
    // Entra gives the reason why a user must log in separately from `error`, which may be another code:
    // revoked, expired or unused for too long, a changed password, a required second factor or consent
    // (AADSTS codes).
    errors: [
      { means: "dead", status: [400, 401], path: ["suberror"], values: signInSuberrors },
      { means: "dead", status: [400, 401], path: ["error_codes"], values: signInCodes }
    ]
  },
  // A grant ends if it is not used for 90 days.
  refresh: { keepAlive: "75 days" },
  rotation: { policy: "reusable" },
  profile: { from: "userinfo" }
}

/**
 * All of them, by ID.
 *
 * @since 0.1.0
 * @category providers
 */
export const providers: Readonly<Record<string, Encoded>> = {
  claude,
  codex,
  copilot,
  gemini,
  github,
  google,
  microsoft
}
