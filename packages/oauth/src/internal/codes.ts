/** Codes that require the user, at the token endpoint too (OpenID Connect Core §3.1.2.6, RFC 9470 §3). */
export const interactionCodes: ReadonlySet<string> = new Set([
  "interaction_required",
  "login_required",
  "consent_required",
  "account_selection_required",
  "insufficient_user_authentication",
  "unmet_authentication_requirements",
  "mfa_required"
])
