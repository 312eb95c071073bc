// What the host offers a run.

import { Artifact, Bytes, toBytes } from "./artifact.js";
import { fetch } from "./http.js";
import { Stopped } from "./outcome.js";

const LEVELS = ["trace", "debug", "info", "warn", "error"];

/** What a name with an underscore is for is the SDK's own use. */
export class Context {
  #artifacts = [];
  #stopSeen;

  constructor(host) {
    this._host = host;
  }

  fetch(url, options) {
    return fetch(this, url, options);
  }

  fetchAfterStop(url, options) {
    return fetch(this, url, options, { afterStop: true });
  }

  async sleep(seconds) {
    if (typeof seconds !== "number" || Number.isNaN(seconds)) {
      throw new TypeError(`ctx.sleep takes a number of seconds, not ${String(seconds)}`);
    }
    if (await this._host.waitStop(Math.max(0, seconds))) throw this._stopped("a pause");
  }

  log(message, level = "info") {
    if (!LEVELS.includes(level)) throw new TypeError(`'${level}' is no level of the log: expected ${LEVELS.join(", ")}`);
    this._host.log(level, String(message));
  }

  progress(fraction, message = "") {
    this._host.progress(fraction ?? undefined, String(message));
  }

  config(key, otherwise) {
    return this._host.config(key) ?? otherwise;
  }

  openInput() {
    const source = this._host.openInput();
    return source === undefined ? undefined : new Bytes(source);
  }

  artifact(name, kind, description = "") {
    return this.#keep(this._host.createArtifact(name, kind, description));
  }

  reopenArtifact(name, kind, length, description = "") {
    return this.#keep(this._host.reopenArtifact(name, kind, description, length));
  }

  #keep(sink) {
    const artifact = new Artifact(sink);
    this.#artifacts.push(artifact);
    return artifact;
  }

  /** Waits for what was written and not awaited. */
  async _settleArtifacts() {
    for (const artifact of this.#artifacts) await artifact.settled();
  }

  async checkpoint(state) {
    const bytes = toBytes(state).slice();
    await this._settleArtifacts();
    this._host.checkpoint(bytes);
  }

  get resumed() {
    return this._host.resumed();
  }

  get resumedText() {
    const state = this.resumed;
    return state === undefined ? undefined : new TextDecoder().decode(state);
  }

  get now() {
    return this._host.now();
  }

  get remaining() {
    return this._host.remaining();
  }

  get deadline() {
    const remaining = this.remaining;
    return remaining === undefined ? undefined : this.now + remaining;
  }

  get stopRequested() {
    const isRequested = this._host.stopRequested() || this.remaining === 0;
    if (isRequested) this.#stopSeen ??= this.now;
    return isRequested;
  }

  get grace() {
    return this._host.grace();
  }

  checkStop() {
    if (this.stopRequested) throw this._stopped("its work");
  }

  _stopped(doing) {
    // Asking keeps the moment, too.
    return new Stopped(doing, { timedOut: this.stopRequested && this.remaining === 0 });
  }

  /**
   * When a run that was told to stop has to stop using the network: the last quarter is for returning. It counts from now,
   * each time anew, as long as the run was not told to.
   */
  _lastMoment() {
    const since = this.stopRequested ? this.#stopSeen : this.now;
    return since + 0.75 * this.grace;
  }
}
