'use strict';

const express = require('express');

const port = Number(process.env.PORT ?? 8101);
const instance = process.env.NODE_APP_INSTANCE ?? '-';
const app = express();

app.get('/', (request, response) => {
  response.json({ hello: 'express', pid: process.pid, instance, uptime: process.uptime() });
});

// An answer that takes its time: stop the app meanwhile, and the answer still comes.
app.get('/slow', (request, response) => {
  const wait = Math.min(Number(request.query.ms ?? 2000) || 0, 60_000);
  setTimeout(() => response.json({ waited: wait, pid: process.pid }), wait);
});

// An error outside of any request, which nobody catches: the process ends with exit code 1.
app.get('/crash', (request, response) => {
  response.json({ crashing: process.pid });
  setImmediate(() => {
    throw new Error('crashed on request');
  });
});

app.get('/health', (request, response) => {
  response.json({ ok: true });
});

const server = app.listen(port, (error) => {
  if (error) {
    console.error(`cannot listen on port ${port}: ${error.message}`);
    process.exit(1);
  }
  console.log(`express: pid ${process.pid} listens on port ${port}`);
});

// Answers in hand are finished; connections that only wait for another request are closed.
function leave(signal) {
  console.log(`express: ${signal}, leaving`);
  server.close(() => process.exit(0));
  server.closeIdleConnections();
}

process.on('SIGTERM', leave);
process.on('SIGINT', leave);
