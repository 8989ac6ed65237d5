// A server as one writes it for PM2: says when it is ready, ends its connections at SIGINT.
const http = require('http');

const answer = {
  env: process.env.NODE_ENV,
  version: process.env.VERSION,
  instance: process.env.NODE_APP_INSTANCE,
  options: process.execArgv,
};
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(answer));
});

server.listen(process.env.PORT, '127.0.0.1', () => {
  console.log(`listening on ${process.env.PORT}`);
  if (process.send) process.send('ready');
});

process.on('SIGINT', () => {
  console.log('closing');
  server.close(() => process.exit(0));
});
