// The ecosystem of a small shop, in the shape that users of PM2 give it. Tests copy this folder before they run it.
const { name, version } = require('./package.json');

const logs = (app) => ({ out_file: `./logs/${app}.log`, error_file: `./logs/${app}-error.log` });

console.log(`configuration of ${name} ${version}`);

module.exports = {
  apps: [
    {
      name: 'api',
      script: './api/server.js',
      instances: 'max',
      exec_mode: 'cluster',
      node_args: ['--max-old-space-size=128'],
      wait_ready: true,
      listen_timeout: 8000,
      kill_timeout: 5000,
      max_memory_restart: '300M',
      merge_logs: true,
      ...logs('api'),
      env: { NODE_ENV: 'development', PORT: process.env.SHOP_PORT || 3000, VERSION: version },
      env_production: { NODE_ENV: 'production' },
    },
    {
      name: 'worker',
      script: 'worker/worker.js',
      args: '--queue "late mails"',
      cron_restart: '0 4 * * *',
      watch: ['worker'],
      ignore_watch: ['node_modules'],
      maxRestarts: '10',
      restart_delay: 3000,
      log_date_format: 'YYYY-MM-DD HH:mm:ss',
      time: true,
      vizion: false,
      ...logs('worker'),
      env: { NODE_ENV: 'development' },
      env_production: { NODE_ENV: 'production' },
    },
    {
      name: 'admin',
      cwd: './admin',
      script: 'server.js',
      interpreter_args: '--max-old-space-size=64',
      max_restarts: 5,
      min_uptime: '5s',
      exp_backoff_restart_delay: 100,
      pid_file: './run/admin.pid',
      ...logs('admin'),
      env: { NODE_ENV: 'development', PORT: process.env.ADMIN_PORT || 3001, LOG_LEVEL: 'debug' },
      env_production: { NODE_ENV: 'production', LOG_LEVEL: 'warn' },
    },
  ],

  deploy: {
    production: {
      user: 'deploy',
      host: 'shop.example',
      ref: 'origin/main',
      repo: 'git@git.example:shop.git',
      path: '/srv/shop',
      'post-deploy': 'npm ci && pm2 reload ecosystem.config.js --env production',
    },
  },
};
