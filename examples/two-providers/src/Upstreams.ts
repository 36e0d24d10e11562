/**
 * The two providers: a tag for each, a prefix of the configuration for each, and nothing shared. If one is
 * down, or its grant has ended, the other is not affected.
 */
import { TokenManager } from "@latchkey/core"
import { Session } from "@latchkey/providers"

export class Calendar extends TokenManager.Tag("example/Calendar")<Calendar>() {}
export class Mail extends TokenManager.Tag("example/Mail")<Mail>() {}

export const CalendarSession = Session.layerConfigFor(Calendar, { prefix: "CALENDAR_", provider: "calendar" })
export const MailSession = Session.layerConfigFor(Mail, { prefix: "MAIL_", provider: "mail" })
