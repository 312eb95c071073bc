// What the caller asked for.

import { Rejected } from "./outcome.js";

const invalid = (key, value, expected) =>
  new Rejected("invalid_metadata", `metadata key '${key}' is '${value}': expected ${expected}`);

export class Invocation {
  constructor({
    runtimeKind,
    metadata = {},
    invocationId = "test",
    runtimeName = "test",
    command = ["test"],
    environment = {},
    workingDirectory = "/",
    timeoutSeconds,
    inputPayloadPath,
    artifactDirectory,
  }) {
    // No key of a caller is one of Object.prototype.
    const own = (map) => Object.assign(Object.create(null), map);
    Object.assign(this, {
      runtimeKind,
      metadata: own(metadata),
      invocationId,
      runtimeName,
      command,
      environment: own(environment),
      workingDirectory,
      timeoutSeconds,
      inputPayloadPath,
      artifactDirectory,
    });
    Object.freeze(this);
  }

  text(key, otherwise) {
    return this.metadata[key] ?? otherwise;
  }

  required(key) {
    const value = this.metadata[key];
    if (value === undefined) throw new Rejected("invalid_metadata", `metadata key '${key}' is missing`);
    return value;
  }

  integer(key, otherwise) {
    const value = this.metadata[key];
    if (value === undefined) return otherwise;
    if (!/^[+-]?[0-9]+$/.test(value.trim()) || !Number.isSafeInteger(Number(value))) {
      throw invalid(key, value, "a whole number");
    }
    return Number(value);
  }

  number(key, otherwise) {
    const value = this.metadata[key];
    if (value === undefined) return otherwise;
    const number = value.trim() === "" ? NaN : Number(value);
    if (!Number.isFinite(number)) throw invalid(key, value, "a number");
    return number;
  }

  boolean(key, otherwise) {
    const value = this.metadata[key];
    if (value === undefined) return otherwise;
    if (value !== "true" && value !== "false") throw invalid(key, value, "true or false");
    return value === "true";
  }

  list(key) {
    const items = (this.metadata[key] ?? "").split(",").map((item) => item.trim());
    return items.filter((item) => item !== "");
  }

  json(key, otherwise) {
    const value = this.metadata[key];
    if (value === undefined) return otherwise;
    try {
      return JSON.parse(value);
    } catch (error) {
      throw invalid(key, value, `JSON (${error.message})`);
    }
  }
}
