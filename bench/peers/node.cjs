// A peer of `cargo xtask bench fan-out`: Node with the `ws` package, and event streams by its own
// http module. Arguments: folder of `ws`, port, frames a second, bytes of a frame.
const http = require("node:http");
const [ws, port, rate, bytes] = process.argv.slice(2);
const { WebSocketServer } = require(ws);

const streams = new Set();
const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  response.flushHeaders();
  streams.add(response);
  response.on("close", () => streams.delete(response));
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });

setInterval(() => {
  const sent = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const start = `{"sent_us":${sent},"pad":"`;
  const payload = start.padEnd(bytes - 2, "x") + '"}';
  for (const socket of sockets.clients) socket.send(payload);
  if (streams.size > 0) {
    const event = `data: ${payload}\n\n`;
    for (const stream of streams) stream.write(event);
  }
}, 1000 / rate);

server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
