// node app.js PORT: answers with the path as apps on Node take it from a target.
const http = require("http");

http
  .createServer((request, response) => {
    let body, status = 200;
    try {
      body = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    } catch (error) {
      [status, body] = [400, String(error)];
    }
    response.writeHead(status, { "Content-Length": Buffer.byteLength(body) });
    response.end(request.method === "HEAD" ? undefined : body);
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
