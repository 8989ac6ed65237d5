// The pages for the shop's own people: one process, nothing about it needs a cluster.
const path = require('path');
const express = require('express');

const app = express();
app.use('/static', express.static(path.join(__dirname, 'public')));
app.get('/health', (request, response) => response.send('ok'));
app.get('/settings', (request, response) => {
  response.json({ env: process.env.NODE_ENV, level: process.env.LOG_LEVEL, options: process.execArgv });
});

app.listen(process.env.PORT, '127.0.0.1', () => console.log(`admin on ${process.env.PORT}`));
