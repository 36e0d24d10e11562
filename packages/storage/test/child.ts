/** A separate process that works on a file. */
import * as File from "@latchkey/storage/File"
import "fs-native-extensions"
import { main } from "./jobs.js"

await main((job) => File.make({ path: job.path }))
