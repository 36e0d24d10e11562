import type { Peer } from "../src/Peer.js"
import { badgateway } from "./Badgateway.js"
import { googleAuth } from "./GoogleAuth.js"
import { msal } from "./Msal.js"
import { openidClient } from "./OpenidClient.js"
import { simpleOauth2 } from "./SimpleOauth2.js"
import { smithy } from "./Smithy.js"

/** Installed by the bench alone; see `package.json` here. */
export const peers: ReadonlyArray<Peer> = [googleAuth, msal, smithy, badgateway, openidClient, simpleOauth2]
