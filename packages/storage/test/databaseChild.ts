/** A separate process that works on a database. */
import { type Database, open } from "./databases.js"
import { type Job, main } from "./jobs.js"

export type DatabaseJob = Job & Database

await main((job: DatabaseJob) => open(job))
