'use strict';
// Evaluates one configuration and writes what it means, one line of JSON, to descriptor 0: a socket to rsx. Standard
// output stays the file's own, so that its console.log disturbs nothing. Given to `node -e`; its argument is the file.
const fs = require('fs');
const { pathToFileURL } = require('url');

const CHANNEL = 0;
const MAX_CALLS = 8;
const file = process.argv[1];
let isSaid = false;

function say(answer) {
  if (isSaid) return;
  isSaid = true;
  let rest = Buffer.from(JSON.stringify(answer) + '\n');
  while (rest.length > 0) {
    try {
      rest = rest.subarray(fs.writeSync(CHANNEL, rest));
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
      // The file has touched process.stdin, which made the socket non-blocking; it is read all the time.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
}

function step(path, key) {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? (path ? `${path}.${key}` : key) : `${path}[${JSON.stringify(key)}]`;
}

// The value as JSON can carry it. Where JSON would lose something in silence, it is spelled out or told.
function plain(value, path, above, lost) {
  switch (typeof value) {
    case 'function':
    case 'symbol':
      lost.push({ path, kind: typeof value });
      return undefined;
    case 'bigint':
      return String(value);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'object':
      break;
    default:
      return value;
  }
  if (value === null) return null;
  if (value instanceof RegExp) return String(value);
  if (typeof value.toJSON === 'function') return plain(value.toJSON(), path, above, lost);
  if (above.includes(value)) throw new TypeError(`${path || 'the configuration'} contains itself`);
  const below = [...above, value];
  if (Array.isArray(value)) {
    return value.map((item, index) => plain(item, `${path}[${index}]`, below, lost));
  }
  const entries = Object.keys(value).map((key) => [key, plain(value[key], step(path, key), below, lost)]);
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined));
}

// Line and column at which a stack, or what node prints of a broken file, first names the file.
function placeIn(text) {
  const real = (() => { try { return fs.realpathSync(file); } catch { return file; } })();
  const lines = String(text).split('\n');
  for (const [index, line] of lines.entries()) {
    for (const name of [file, real, pathToFileURL(file).href, pathToFileURL(real).href]) {
      const at = line.indexOf(`${name}:`);
      const found = at < 0 ? null : /^(\d+)(?::(\d+))?/.exec(line.slice(at + name.length + 1));
      if (!found) continue;
      // A syntax error: the line and carets follow.
      const carets = found[2] ? -1 : (lines[index + 2] || '').search(/\^/);
      const column = found[2] ? Number(found[2]) : carets + 1;
      return { line: Number(found[1]), column: Math.max(column, 1) };
    }
  }
  return null;
}

// Of an ES module that cannot be parsed, only a process that dies of it tells the place.
function check() {
  const { spawnSync } = require('child_process');
  const options = { encoding: 'utf8', timeout: 5000, stdio: ['ignore', 'ignore', 'pipe'] };
  return spawnSync(process.execPath, ['--check', file], options).stderr || '';
}

function failure(error) {
  const isError = error !== null && typeof error === 'object' && typeof error.stack === 'string';
  if (!isError) return { message: `it throws ${require('util').inspect(error)}`, frames: [] };
  const place = placeIn(error.stack) || (error.name === 'SyntaxError' ? placeIn(check()) : null);
  const isOutside = (line) => line.startsWith('at ') && line.includes('/') && !/\(?node:|\[eval\]/.test(line);
  const frames = error.stack.split('\n').map((line) => line.trim()).filter(isOutside).slice(0, 4);
  return { message: `${error.name}: ${error.message}`.split('\n')[0], frames, ...place };
}

async function evaluate() {
  const module = await import(pathToFileURL(file).href);
  let value = 'default' in module ? module.default : { ...module };
  if (value && value.__esModule && 'default' in value) value = value.default;
  value = await value;
  for (let calls = 0; typeof value === 'function' && calls < MAX_CALLS; calls += 1) value = await value();
  const lost = [];
  const values = plain(value, '', [], lost);
  if (values === undefined) throw new TypeError('it exports nothing');
  return { values: JSON.stringify(values, null, 2), lost };
}

process.on('beforeExit', () => say({ error: { message: 'it awaits a promise that is never settled', frames: [] } }));
process.on('exit', (code) => say({ error: { message: `it ends the process by itself, with code ${code}`, frames: [] } }));
evaluate()
  .then(say, (error) => say({ error: failure(error) }))
  .then(() => process.exit(0));
