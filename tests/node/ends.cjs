// Both ends of WebSockets by node's `ws`: `node ends.cjs server`, or `node ends.cjs client PORT [CA]`, which acts all
// plays one after the other, with TLS if there is a file with an authority for localhost. The server first prints its
// port. Then either prints a line of JSON for each play: its name, and what that end has seen.
"use strict";

const { createHash } = require("node:crypto");
const { WebSocket, WebSocketServer } = require("ws");

const LARGE = Buffer.alloc(16 << 20, "0123456789abcdef!");
const TEXT = "Füße, 東京, ".repeat(20_000);
const FRAGMENTS = ["one", "", "x".repeat(70_000), "y".repeat(200), "last"];
const digest = (data) => createHash("sha256").update(data).digest("hex");

// Everything that happens at an end, until it has ended.
function watch(socket) {
  const seen = [];
  socket.on("message", (data, isBinary) => seen.push([isBinary ? "binary" : "text", data.length, digest(data)]));
  socket.on("ping", (data) => seen.push(["ping", data.toString()]));
  socket.on("pong", (data) => seen.push(["pong", data.toString()]));
  socket.on("error", (error) => seen.push(["error", error.message]));
  const ended = new Promise((resolve) =>
    socket.on("close", (code, reason) => resolve([...seen, ["close", code, reason.toString()]])));
  return { ended };
}

const next = (socket, event) => new Promise((resolve) => socket.once(event, (...values) => resolve(values)));

// One message in frames of its own. Between any two a ping, which is answered before the next one.
async function sendFragments(socket) {
  for (const [number, fragment] of FRAGMENTS.entries()) {
    const last = number === FRAGMENTS.length - 1;
    socket.send(fragment, { fin: last, binary: false });
    if (!last) {
      socket.ping(`${number}`);
      await next(socket, "pong");
    }
  }
}

const leave = async (socket, code, reason) => socket.close(code, reason);
const wait = async () => {};

// name: [what the client does, what the server does, options of both]
const PLAYS = {
  "large messages": [
    async (socket) => { socket.send(LARGE); await next(socket, "message"); socket.close(1000); },
    async (socket) => { await next(socket, "message"); socket.send(LARGE); },
    { perMessageDeflate: false }],
  "fragments from the client": [
    async (socket) => { await sendFragments(socket); socket.close(1000); }, wait, { perMessageDeflate: false }],
  "fragments from the app": [
    wait, async (socket) => { await sendFragments(socket); socket.close(1000); }, { perMessageDeflate: false }],
  "compressed fragments": [async (socket) => { await sendFragments(socket); socket.close(1000); }, wait, {}],
  "permessage-deflate": [
    async (socket) => {
      for (const text of [TEXT, "", TEXT]) { socket.send(text); await next(socket, "message"); }
      socket.close(1000, socket.extensions);
    },
    async (socket) => socket.on("message", (data) => socket.send(data, { binary: false })),
    { perMessageDeflate: { threshold: 0 } }],
  "a code from the client": [(socket) => leave(socket, 4321, "Größe"), wait, {}],
  "a code from the app": [wait, (socket) => leave(socket, 1013, "later"), {}],
  "no code": [leave, wait, {}],
  "an end without a Close frame": [async (socket) => socket.terminate(), wait, {}],
  "a message that is no UTF-8": [
    wait, async (socket) => { socket.send(Buffer.from([0xff, 0xfe]), { binary: false }); }, {}],
};

const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

async function client(port, file) {
  const ca = file && require("node:fs").readFileSync(file);
  for (const name of Object.keys(PLAYS)) say([name, ...await join(port, name, ca)]);
}

async function join(port, name, ca) {
  const [act, , options] = PLAYS[name];
  const address = `${ca ? "wss" : "ws"}://localhost:${port}/${encodeURIComponent(name)}`;
  const socket = new WebSocket(address, ["v2", "v1"], { maxPayload: 0, ca, family: 4, ...options });
  const { ended } = watch(socket);
  await next(socket, "open");
  await act(socket);
  return [["open", socket.protocol, socket.extensions], ...await ended];
}

function server() {
  const servers = new Map();
  const http = require("node:http").createServer();
  http.on("upgrade", (request, connection, head) => {
    const name = decodeURIComponent(request.url.slice(1));
    const [, act, options] = PLAYS[name];
    if (!servers.has(name)) {
      const handleProtocols = () => "v1";
      servers.set(name, new WebSocketServer({ noServer: true, maxPayload: 0, handleProtocols, ...options }));
    }
    servers.get(name).handleUpgrade(request, connection, head, async (socket) => {
      const { ended } = watch(socket);
      await act(socket);
      say([name, ...await ended]);
    });
  });
  http.listen(0, "127.0.0.1", () => say(http.address().port));
}

const [role, port, file] = process.argv.slice(2);
if (role === "server") server();
else client(port, file);
