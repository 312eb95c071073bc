// Write plugins for executor-runtime in JavaScript.
//
// A plugin is one function, given to `defineRunner`, that plugin.js exports by default. What it returns is a success; what it
// throws is a failure. README.md is the guide.

export { ArtifactError } from "./artifact.js";
export { HttpError } from "./http.js";
export { Invocation } from "./invocation.js";
export { Failed, Outcome, Rejected, Stopped } from "./outcome.js";
export { defineRunner } from "./run.js";
