/* The lines of the change log: what was written for the reader, and nothing else. */
module.exports = {
  getReleaseLine: async ({ summary }) => `- ${summary.trim().replace(/\n/g, "\n  ")}`,
  // Packages are released together: that another one was is no news.
  getDependencyReleaseLine: async () => ""
}
