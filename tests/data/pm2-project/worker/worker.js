// A worker that tells what it was given and goes on.
console.log(`${process.env.NODE_ENV}: ${JSON.stringify(process.argv.slice(2))}`);
setInterval(() => {}, 1000);
