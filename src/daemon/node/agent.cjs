'use strict';
// The agent of rsx in a Node program, loaded by NODE_OPTIONS=--require before it, ES modules too.
//
// It makes standard output and error blocking, so that nothing is lost at process.exit; it says each second how the event
// loop and the heap are, and for which signals the program listens; when it is told to drain, answers carry
// `Connection: close`; in cluster mode it stands in for node:cluster, because programs that fork one worker a core would
// do that in each instance.
//
// It must not be noticed otherwise: it never throws, nothing of it keeps the program alive, and what the program starts
// finds no trace of it in its environment. The syntax is that of old releases: a file that cannot be parsed would end them.
(function () {
  // Programs that start the real one, by the names of their scripts.
  const LAUNCHERS = [
    'npm', 'npx', 'pnpm', 'pnpx', 'yarn', 'yarnpkg', 'corepack', 'cross-env', 'cross-env-shell', 'env-cmd', 'dotenv',
    'dotenvx', 'nodemon', 'concurrently', 'npm-run-all', 'npm-run-all2', 'run-s', 'run-p', 'nx', 'turbo', 'lerna', 'tsx',
    'nest', 'nf', 'foreman', 'ts-node-dev', 'tsnd',
  ];
  // How long a connection has been idle before it is closed by us, in milliseconds.
  const IDLE = 500;

  const attempt = function (act) {
    try { return act(); } catch (_) { return undefined; }
  };
  attempt(function () {
    const env = process.env;
    const place = env.RSX_AGENT;
    if (!place || !attempt(function () { return require('worker_threads').isMainThread; })) return;
    // Who starts the program leaves it the agent.
    const name = String(process.argv[1] || '').split('/').pop().replace(/\.[cm]?js$/, '').replace(/-cli$/, '');
    if (LAUNCHERS.indexOf(name) >= 0) return;
    delete env.RSX_AGENT;
    const rest = String(env.NODE_OPTIONS || '').replace(/--require="(?:[^"\\]|\\.)*agent-[0-9a-f]+\.cjs" ?/, '').trim();
    if (rest) env.NODE_OPTIONS = rest;
    else delete env.NODE_OPTIONS;
    const at = place.indexOf(':');
    const mode = place.slice(0, at);
    const path = place.slice(at + 1);
    attempt(function () { block(1, 'stdout'); });
    attempt(function () { block(2, 'stderr'); });
    if (mode === 'cluster') attempt(function () { standIn(Number(env.RSX_INSTANCE) + 1 || 1); });
    talk(path);
  });

  // A pipe is written to asynchronously, and what waits at the end is lost. Files are not, and terminals are no business of
  // ours.
  function block(fd, name) {
    if (!require('fs').fstatSync(fd).isFIFO()) return;
    const handle = process[name]._handle;
    if (handle && handle.setBlocking) handle.setBlocking(true);
  }

  // node:cluster as a worker of somebody else's primary sees it, with servers that listen themselves.
  function standIn(id) {
    const env = process.env;
    const before = env.NODE_UNIQUE_ID;
    if (before !== undefined) return;
    // Decides which of its two halves is loaded.
    env.NODE_UNIQUE_ID = String(id);
    let cluster;
    try { cluster = require('cluster'); } finally { delete env.NODE_UNIQUE_ID; }
    if (!cluster.isWorker) return;
    const events = require('events');
    const worker = Object.create(cluster.Worker.prototype);
    events.call(worker);
    const leave = function () {
      worker.exitedAfterDisconnect = true;
      worker.state = 'disconnecting';
      const servers = process._getActiveHandles().filter(function (it) { return typeof it.close === 'function' && it.listening; });
      let open = servers.length;
      const closed = function () {
        open -= 1;
        if (open > 0) return;
        worker.state = 'disconnected';
        if (process.connected && process.disconnect) process.disconnect();
        worker.emit('disconnect');
      };
      servers.forEach(function (server) { server.close(closed); });
      if (open === 0) process.nextTick(closed);
      return worker;
    };
    const end = function () {
      worker.exitedAfterDisconnect = true;
      process.exit(0);
    };
    // What programs may add to a worker is enumerable, and so is this.
    Object.assign(worker, {
      id: id, process: process, state: 'online', exitedAfterDisconnect: undefined, disconnect: leave, kill: end, destroy: end,
      send: function () { return process.send ? process.send.apply(process, arguments) : false; },
      isConnected: function () { return Boolean(process.connected); },
      isDead: function () { return false; },
    });
    const forwarded = {};
    worker.on('newListener', function (event) {
      if ((event !== 'message' && event !== 'disconnect') || forwarded[event]) return;
      forwarded[event] = true;
      process.on(event, function (message, handle) { worker.emit(event, message, handle); });
    });
    cluster.worker = worker;
    cluster._getServer = function (server, query, done) {
      if (typeof server._listen2 === 'function') {
        server._listen2(query.address, query.port, query.addressType, query.backlog, query.fd, query.flags);
        return;
      }
      // A UDP socket. What makes its handle is old, and a warning would be printed for it.
      const silent = process.noDeprecation;
      process.noDeprecation = true;
      let handle;
      try {
        handle = require('dgram')._createSocketHandle(query.address, query.port, query.addressType, query.fd, query.flags);
      } finally {
        process.noDeprecation = silent;
      }
      if (typeof handle === 'number') done(handle, null);
      else done(0, handle);
    };
    const sync = require('module').syncBuiltinESMExports;
    if (sync) sync();
  }

  function talk(path) {
    const net = require('net');
    const later = setTimeout, every = setInterval;
    const nothing = function () {};
    const state = { socket: null, pause: 50, ready: false, draining: false, heeds: '', standsIn: false };

    const tell = function (what) {
      const socket = state.socket;
      // What would have to wait might keep the program alive, and is old news when it comes.
      if (!socket || socket.destroyed || socket.writableLength > 65536) return false;
      return attempt(function () { socket.write(JSON.stringify(what) + '\n'); return true; }) || false;
    };

    const heeds = function () {
      return ['SIGINT', 'SIGTERM', 'message'].filter(function (event) {
        // Messages come from us only where there is no channel.
        return process.listenerCount(event) > 0 && (event !== 'message' || (state.standsIn && process.connected));
      });
    };
    const look = function () {
      const now = heeds();
      if (String(now) === state.heeds) return;
      state.heeds = String(now);
      tell({ heeds: now });
    };
    const soon = function (event) {
      // The listener is there after this.
      if (event === 'SIGINT' || event === 'SIGTERM' || event === 'message') process.nextTick(function () { attempt(look); });
    };
    process.on('newListener', soon);
    process.on('removeListener', soon);

    const connect = function () {
      const socket = net.connect({ path: path });
      let unread = '';
      state.socket = socket;
      socket.unref();
      socket.setEncoding('utf8');
      socket.on('error', nothing);
      socket.on('connect', function () { state.pause = 50; });
      socket.on('close', function () {
        state.socket = null;
        // Another daemon listens there soon.
        later(function () { attempt(connect); }, state.pause).unref();
        state.pause = Math.min(state.pause * 2, 30000);
      });
      socket.on('data', function (text) {
        unread += text;
        const lines = unread.split('\n');
        unread = lines.pop().slice(0, 65536);
        lines.forEach(function (line) { attempt(function () { hear(JSON.parse(line)); }); });
      });
      const now = heeds();
      state.heeds = String(now);
      tell({ hello: { pid: process.pid, version: process.version, heeds: now, ready: state.ready } });
    };

    const hear = function (what) {
      if (what.drain) drain();
      if (typeof what.message === 'string') process.emit('message', what.message);
    };

    const drain = function () {
      if (state.draining) return;
      state.draining = true;
      const channel = require('diagnostics_channel').channel('http.server.request.start');
      channel.subscribe(function (start) { start.response.shouldKeepAlive = false; });
      const idle = function () {
        process._getActiveHandles().forEach(function (handle) {
          if (handle.closeIdleConnections) attempt(function () { handle.closeIdleConnections(); });
        });
      };
      // Who has not asked anything until then was idle all the time.
      later(function () {
        attempt(idle);
        every(function () { attempt(idle); }, 250).unref();
      }, IDLE).unref();
    };

    // npm and the like keep the channel that Node has for messages to themselves.
    if (typeof process.send !== 'function') {
      state.standsIn = true;
      process.connected = true;
      process.send = function (message) {
        const done = Array.prototype.slice.call(arguments).filter(function (it) { return typeof it === 'function'; })[0];
        if (message === 'ready') state.ready = true;
        const sent = tell({ sent: message });
        if (done) process.nextTick(done, null);
        return sent;
      };
      process.disconnect = function () {
        if (!process.connected) return;
        process.connected = false;
        attempt(look);
        process.nextTick(function () { process.emit('disconnect'); });
      };
    }

    const clock = function () { return Number(process.hrtime.bigint()) / 1e6; };
    const last = { at: clock(), used: 0, told: 0, loop: undefined };
    const tick = function () {
      const at = clock();
      const lag = Math.max(0, at - last.at - 1000);
      last.at = at;
      const performance = require('perf_hooks').performance;
      const loop = performance.eventLoopUtilization ? performance.eventLoopUtilization() : undefined;
      const busy = loop && last.loop ? performance.eventLoopUtilization(loop, last.loop).utilization : 0;
      last.loop = loop;
      const heap = require('v8').getHeapStatistics();
      const moved = Math.abs(heap.used_heap_size - last.used) > last.used / 20;
      // One that sleeps is left to sleep, and so is whoever listens.
      if (busy < 0.02 && lag < 20 && !moved && at - last.told < 10000) return;
      if (tell({ tick: {
        lag: Math.round(lag * 10) / 10, busy: Math.round(busy * 1000) / 1000,
        heap_used: heap.used_heap_size, heap_total: heap.total_heap_size, heap_limit: heap.heap_size_limit,
      } })) {
        last.used = heap.used_heap_size;
        last.told = at;
      }
    };
    connect();
    every(function () { attempt(tick); }, 1000).unref();
  }
})();
