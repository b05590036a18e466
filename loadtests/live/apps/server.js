// The app for node. TERM ends it when the running requests are answered, as an app should.
const http = require("http");
const fs = require("fs");

const [host, port] = process.argv.slice(2);
const server = http.createServer((request, response) => {
  const say = (status, body) => {
    response.writeHead(status, { "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  };
  if (request.url === "/health") {
    const leaving = fs.existsSync(process.env.LEAVING);
    say(leaving ? 410 : 200, leaving ? "leaving" : "ok");
  } else if (request.url.startsWith("/r/")) {
    const number = request.url.slice(3);
    let sent = "";
    request.on("data", (piece) => (sent += piece));
    request.on("end", () => {
      const isOwn = request.method !== "POST" || sent.trimEnd() === number;
      setTimeout(() => say(isOwn ? 200 : 422, number), 8);
    });
  } else {
    say(200, "ok");
  }
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
server.listen(Number(port), host);
