// A server as one writes it for PM2: says when it is ready, ends its connections at SIGINT.
const express = require('express');

const app = express();
app.use(express.json());

app.get('/', (request, response) => {
  response.json({
    env: process.env.NODE_ENV,
    version: process.env.VERSION,
    instance: process.env.NODE_APP_INSTANCE,
    options: process.execArgv,
  });
});

const orders = [];
app.post('/orders', (request, response) => {
  orders.push(request.body);
  response.status(201).json({ id: orders.length });
});
app.get('/orders/:id', (request, response) => {
  const order = orders[request.params.id - 1];
  if (order) response.json(order);
  else response.status(404).json({ error: 'no such order' });
});

const server = app.listen(process.env.PORT, '127.0.0.1', () => {
  console.log(`listening on ${process.env.PORT}`);
  if (process.send) process.send('ready');
});

process.on('SIGINT', () => {
  console.log('closing');
  server.close(() => process.exit(0));
});
