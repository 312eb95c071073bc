// A server on a loopback port, whose answers a test gives.

import http from "node:http";

/** Calls `use(server)` while a server answers each request by `answer(request, response, server)`. */
export async function withServer(answer, use) {
  const server = { requests: [] };
  const listening = http.createServer(async (request, response) => {
    const pieces = [];
    try {
      for await (const piece of request) pieces.push(piece);
    } catch {
      return;
    }
    const { method, url: path, headers } = request;
    server.requests.push({ method, path, headers, body: Buffer.concat(pieces).toString() });
    answer(request, response, server);
  });
  await new Promise((resolve) => listening.listen(0, "127.0.0.1", resolve));
  server.url = `http://127.0.0.1:${listening.address().port}`;
  try {
    return await use(server);
  } finally {
    listening.closeAllConnections();
    await new Promise((resolve) => listening.close(resolve));
  }
}

export function respond(response, status, body = "", headers = {}) {
  response.writeHead(status, { "content-length": Buffer.byteLength(body), ...headers });
  response.end(body);
}
