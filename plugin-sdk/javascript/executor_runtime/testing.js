// `TestHost`: runs a plugin's function in this process, without WebAssembly and without the real host.
//
// Pauses take no time: `ctx.sleep(60)` moves the run's clock on by a minute and returns. HTTP is real, by sockets, so a test
// starts a server on a loopback port.

import { ArtifactError, toBytes } from "./artifact.js";
import { Interrupted } from "./http.js";
import { Invocation } from "./invocation.js";
import { HostDied, runToEnd } from "./run.js";
import { Sockets } from "./sockets.js";

const CHECKPOINT_BYTES = 64 * 1024;
const OPTIONS = ["config", "input", "timeout", "grace"];

/** An invocation of this kind; `fields` are those of `Invocation`. */
export function invocation(kind, metadata = {}, fields = {}) {
  return new Invocation({ ...fields, runtimeKind: kind, metadata });
}

export class TestHost {
  logs = [];
  progressReports = [];
  artifacts = {};
  checkpoints = [];
  slept = 0;
  #options;
  #resumed;
  #interrupted = {};
  #diesAt;
  #died = new Promise(() => {});
  #stopAt = Infinity;
  #begun = performance.now();
  #sockets = new Sockets();

  constructor(options = {}) {
    for (const name of Object.keys(options)) {
      if (!OPTIONS.includes(name)) throw new TypeError(`TestHost has no option '${name}': it has ${OPTIONS.join(", ")}`);
    }
    this.#options = { config: {}, timeout: Infinity, grace: 5, ...options };
  }

  /** Runs an invocation to its end. */
  async run(runner, asked) {
    this.#begin();
    let isDead = false;
    const host = this.#running(() => {
      isDead = true;
    });
    try {
      return await Promise.race([runToEnd(runner, asked, host), this.#died]);
    } finally {
      this.#sockets.close();
      for (const [name, artifact] of Object.entries(this.artifacts)) {
        if (!artifact.finished && !isDead) delete this.artifacts[name];
      }
    }
  }

  /**
   * Runs an invocation until its host dies, right after the checkpoint with this number (1 is the first); gives a host for
   * the run that goes on.
   */
  async runUntilDeath(checkpoint, runner, asked) {
    this.#diesAt = checkpoint;
    const ended = await this.run(runner, asked).catch((error) => {
      if (!(error instanceof HostDied)) throw error;
    });
    if (ended !== undefined) {
      throw new Error(`the run ended before checkpoint ${checkpoint}: ${ended.status}: ${ended.summary ?? ""}`);
    }
    const following = new TestHost(this.#options);
    following.#resumed = this.checkpoints.at(-1);
    for (const [name, artifact] of Object.entries(this.artifacts)) {
      if (!artifact.finished) following.#interrupted[name] = artifact.data.slice();
    }
    return following;
  }

  /** Asks the run to stop: before it, or while it waits. */
  stop() {
    this.stopAfter(0);
  }

  /** Asks the run to stop when so much time has passed on its clock, sleeps included. */
  stopAfter(seconds) {
    this.#stopAt = this.#now() + seconds;
    if (seconds <= 0) this.#sockets.interrupt();
    this.#wake();
  }

  /** All log lines. */
  get logText() {
    return this.logs.map(({ level, message }) => `${level}: ${message}`).join("\n");
  }

  #begin() {
    const elapsed = this.#now();
    this.#begun = performance.now();
    this.#stopAt -= elapsed;
    this.slept = 0;
  }

  #now() {
    return (performance.now() - this.#begun) / 1000 + this.slept;
  }

  #stopMoment() {
    return Math.min(this.#stopAt, this.#options.timeout);
  }

  #pauses = new Set();

  /** Ends the pause that is over first, once everything else of this turn is done. */
  #wake() {
    setImmediate(() => {
      const [first] = [...this.#pauses].sort((a, b) => a.wakesAt() - b.wakesAt());
      if (first === undefined) return;
      this.#pauses.delete(first);
      this.slept += Math.max(0, first.wakesAt() - this.#now());
      first.resolve(first.isStopped());
      if (this.#pauses.size > 0) this.#wake();
    });
  }

  #pause(seconds) {
    const over = this.#now() + seconds;
    return new Promise((resolve) => {
      this.#pauses.add({
        resolve,
        wakesAt: () => Math.min(over, this.#stopMoment()),
        isStopped: () => this.#stopMoment() <= over,
      });
      this.#wake();
    });
  }

  /** What `Context` asks. */
  #running(onDeath) {
    let isDead = false;
    let die;
    this.#died = new Promise((_, reject) => {
      die = reject;
    });
    this.#died.catch(() => {});
    const alive = (call) => (...values) => {
      if (isDead) throw new HostDied();
      return call(...values);
    };
    const { config, input, timeout, grace } = this.#options;
    const now = () => this.#now();
    const stopRequested = () => now() >= this.#stopMoment();
    const calls = {
      log: (level, message) => this.logs.push({ level, message }),
      progress: (fraction, message) => this.progressReports.push({ fraction, message }),
      now,
      remaining: () => (timeout === Infinity ? undefined : Math.max(0, timeout - now())),
      stopRequested,
      grace: () => grace,
      waitStop: (seconds) => this.#pause(seconds),
      config: (key) => config[key],
      openInput: () => (input === undefined ? undefined : new Input(toBytes(input))),
      createArtifact: (name, kind, description) => this.#create(name, kind, description, new Uint8Array(), alive),
      reopenArtifact: (name, kind, description, length) => {
        const earlier = this.#interrupted[name];
        if (earlier === undefined || earlier.length < length) {
          const found = earlier === undefined ? "there is none" : `it has ${earlier.length} bytes`;
          throw new ArtifactError(`artifact '${name}' can't be gone on with: ${found}`, { notResumable: true });
        }
        return this.#create(name, kind, description, earlier.slice(0, length), alive);
      },
      checkpoint: (state) => {
        if (state.length > CHECKPOINT_BYTES) {
          throw new Error(`the checkpoint has ${state.length} bytes, more than ${CHECKPOINT_BYTES}`);
        }
        this.checkpoints.push(state);
        if (this.checkpoints.length === this.#diesAt) {
          isDead = true;
          onDeath();
          die(new HostDied());
          throw new HostDied();
        }
      },
      resumed: () => this.#resumed,
      send: (exchange) => {
        if (exchange.limit.heedsStop && stopRequested()) throw new Interrupted();
        return this.#sockets.send(exchange, now, this.#stopMoment());
      },
    };
    return Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, alive(call)]));
  }

  #create(name, kind, description, data, alive) {
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name)) {
      throw new ArtifactError(`'${name}' can't be the name of an artifact: expected letters, digits, '.', '_' and '-'`);
    }
    if (Object.hasOwn(this.artifacts, name)) throw new ArtifactError(`this run has made an artifact '${name}' before`);
    const artifact = new WrittenArtifact(kind, description, data);
    this.artifacts[name] = artifact;
    return {
      write: alive((bytes) => {
        artifact.data = Buffer.concat([artifact.data, bytes]);
      }),
      finish: alive(() => {
        artifact.finished = true;
        return artifact.data.length;
      }),
      drop: alive(() => {
        delete this.artifacts[name];
      }),
    };
  }
}

/** An artifact as a run has left it. */
class WrittenArtifact {
  finished = false;

  constructor(kind, description, data) {
    Object.assign(this, { kind, description, data });
  }

  get text() {
    return new TextDecoder().decode(this.data);
  }
}

class Input {
  #rest;

  constructor(bytes) {
    this.#rest = bytes;
  }

  read(size) {
    const piece = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(piece.length);
    return piece.length === 0 ? undefined : piece;
  }

  close() {
    this.#rest = new Uint8Array();
  }
}
