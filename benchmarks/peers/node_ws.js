// A room on Node's `ws`: hears one Redis channel and sends each message to every client.
const http = require("node:http");
const { createClient } = require("redis");
const { WebSocket, WebSocketServer } = require("ws");

async function main() {
  const server = http.createServer((_request, response) => response.end("ok"));
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  const redis = createClient({ url: process.env.REDIS_URL });
  await redis.connect();
  await redis.subscribe("room", (message) => {
    const data = Buffer.from(message);
    for (const client of sockets.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
    }
  });
  server.listen(Number(process.env.PORT), "127.0.0.1");
}

main();
