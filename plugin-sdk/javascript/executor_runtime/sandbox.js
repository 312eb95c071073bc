// Has what does not work inside a component say what does.

export function explainFetch() {
  globalThis.fetch = () => {
    throw new TypeError("fetch is not there in a plugin: use ctx.fetch, which ends when the run is to stop");
  };
}
