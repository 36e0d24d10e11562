/**
 * Loads Node's own HTTP client before the `undici` package, which would take its place in `fetch`: then `fetch` refuses the
 * `content-length` that some libraries set.
 */
new Response()
