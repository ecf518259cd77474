// An OpenID Connect provider on a free port, whose people are whoever they say: node provider.js REDIRECT_URI
const http = require("node:http");

(async () => {
  const { default: Provider } = await import(require.resolve("oidc-provider"));
  const server = http.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  // Another site than 127.0.0.1, so that cookies are those of a stranger.
  const issuer = `http://localhost:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "holdgate",
      client_secret: "a secret with : and %",
      redirect_uris: [process.argv[2]],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    }],
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true } },
  });
  server.on("request", provider.callback());
  console.log(issuer);
})();
