/** Why a web login cannot go on. */
import { LoginError } from "../LoginError.js"

export const unreadable = new LoginError({
  reason: "Malformed",
  message: "The record of this login cannot be read: start the login again."
})

export const notUnderWay = new LoginError({
  reason: "StateMismatch",
  message:
    "No login is under way in this browser, or it is over: start the login again, and allow cookies for this site."
})
