// Four small kinds to copy from, each in a file of its own; a plugin needs no more than one.

import { download } from "./download.js";
import { defineRunner } from "./executor_runtime/index.js";
import { fetch } from "./fetch.js";
import { greet } from "./greet.js";
import { outcomes } from "./outcomes.js";

const KINDS = { greet, fetch, download, outcomes };

export default defineRunner((invocation, ctx) => KINDS[invocation.runtimeKind](invocation, ctx));
