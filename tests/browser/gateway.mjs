// What stands in front of the deployed page: the HTTP API of infra/page.yaml with its routes, its authorizer and its
// stage variables, and Lambda, which runs the program that is deployed.

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

import { createRemoteJWKSet, jwtVerify } from 'jose';
import { parse } from 'yaml';

const FUNCTION = process.env.QUERY_FUNCTION ?? fileURLToPath(new URL('../../target/debug/query', import.meta.url));
const TEMPLATE = new URL('../../infra/page.yaml', import.meta.url);

// The values of the hub's functions in Functions, by the logical names of the integrations.
const FUNCTIONS = { QueryIntegration: 'refuse', OperateIntegration: 'allow' };

const listening = (server, port = 0) =>
  new Promise((done) => server.listen(port, '127.0.0.1', () => done(`127.0.0.1:${server.address().port}`)));

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

// -- The template

// A value of the template with these parameters, and an issuer instead of a user pool.
function resolved(value, template, parameters) {
  if (value?.Ref === 'AWS::NoValue') return undefined;
  if (value?.Ref) return parameters[value.Ref] ?? template.Parameters[value.Ref].Default;
  const [condition, yes, no] = value?.['Fn::If'] ?? [];
  if (!condition) return value;
  const isTrue = condition === 'HasTokenOrigin' && parameters.TokenOrigin;
  return resolved(isTrue ? yes : no, template, parameters);
}

async function api(parameters) {
  const template = parse(await readFile(TEMPLATE, 'utf8'));
  const all = Object.values(template.Resources);
  const routes = all
    .filter(({ Type }) => Type === 'AWS::ApiGatewayV2::Route')
    .map(({ Properties: { RouteKey, AuthorizationType, Target } }) => {
      const [method, path] = RouteKey.split(' ');
      const isGreedy = path.includes('{proxy+}');
      const before = path.replace('{proxy+}', '');
      const target = /\$\{(\w+)\}/.exec(Target['Fn::Sub'])[1];
      return { key: RouteKey, method, before, isGreedy, isOpen: AuthorizationType === 'NONE', target };
    });
  const { StageVariables } = template.Resources.Stage.Properties;
  const values = Object.entries(StageVariables).map(([name, value]) => [name, resolved(value, template, parameters)]);
  return { routes, variables: Object.fromEntries(values.filter(([, value]) => value !== undefined)) };
}

// A full match first, then a greedy one.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
const routeOf = (routes, method, path) =>
  routes.find((route) => route.method === method && !route.isGreedy && route.before === path) ??
  routes.find((route) => route.method === method && route.isGreedy && path.startsWith(route.before));

// -- The authorizer

// Claims are texts in an event; a list is one in brackets.
const asText = (value) => (Array.isArray(value) ? `[${value.join(' ')}]` : String(value));

// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
function authorizer(issuer, audience) {
  let keys;
  return async (authorization) => {
    const discover = async () => (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
    keys ??= createRemoteJWKSet(new URL((await discover()).jwks_uri));
    const token = authorization?.replace(/^Bearer /, '') ?? '';
    const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ['RS256', 'RS384', 'RS512'] });
    return Object.fromEntries(Object.entries(payload).map(([name, value]) => [name, asText(value)]));
  };
}

// -- Lambda

// Runs a function with the runtime API. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
async function lambda(endpoint, changes) {
  const [waiting, asking, answers] = [[], [], new Map()];
  const give = (response, { id, event }) => {
    const headers = {
      'lambda-runtime-aws-request-id': id,
      'lambda-runtime-deadline-ms': String(Date.now() + 29_000),
      'lambda-runtime-invoked-function-arn': 'arn:aws:lambda:eu-central-1:999988887777:function:query',
      'content-type': 'application/json',
    };
    response.writeHead(200, headers).end(JSON.stringify(event));
  };
  const server = createServer(async (request, response) => {
    if (request.url.endsWith('/invocation/next')) {
      if (asking.length > 0) give(response, asking.shift());
      else waiting.push(response);
      return;
    }
    const [, id] = /\/invocation\/([^/]+)\/(?:response|error)$/.exec(request.url) ?? [];
    const said = await bodyOf(request);
    response.writeHead(202).end();
    answers.get(id)?.(said.toString());
  });
  const environment = {
    PATH: process.env.PATH,
    AWS_LAMBDA_RUNTIME_API: await listening(server),
    AWS_LAMBDA_FUNCTION_NAME: 'query',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_LOG_GROUP_NAME: '/aws/lambda/query',
    AWS_LAMBDA_LOG_STREAM_NAME: 'test',
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: '111122223333',
    AWS_SECRET_ACCESS_KEY: 'local',
    TABLE_NAME: 'ecr-lineage',
    READ_ROLE: 'ecr-lineage-read',
    CHANGES: changes,
  };
  const child = spawn(FUNCTION, { env: environment, stdio: ['ignore', 'ignore', 'inherit'] });
  let number = 0;
  const invoke = (event) =>
    new Promise((done) => {
      number += 1;
      const invocation = { id: String(number), event };
      answers.set(invocation.id, (text) => done(JSON.parse(text)));
      const response = waiting.shift();
      if (response) give(response, invocation);
      else asking.push(invocation);
    });
  const stop = async () => {
    child.kill('SIGKILL');
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  return { invoke, stop };
}

// -- The API

// The payload of version 2.0.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
function eventOf(request, url, route, claims, variables, body) {
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, asText(value)]));
  const time = new Date();
  return {
    version: '2.0',
    routeKey: route.key,
    rawPath: url.pathname,
    rawQueryString: url.search.slice(1),
    headers,
    requestContext: {
      accountId: '999988887777',
      apiId: 'api',
      ...(claims && { authorizer: { jwt: { claims, scopes: null } } }),
      domainName: headers.host,
      domainPrefix: 'api',
      http: {
        method: request.method,
        path: url.pathname,
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: 'test',
      },
      requestId: 'request',
      routeKey: route.key,
      stage: '$default',
      time: time.toISOString(),
      timeEpoch: time.getTime(),
    },
    stageVariables: variables,
    ...(body.length > 0 && { body: body.toString('base64') }),
    isBase64Encoded: body.length > 0,
  };
}

// Opens a port first, because the issuer must know the page's address.
export async function startGateway() {
  const server = createServer();
  const endpoint = `http://${await listening(server)}`;
  return { endpoint, page: `${endpoint}/`, server };
}

export async function connectGateway(gateway, product, { issuer }, parameters) {
  const { routes, variables } = await api(parameters);
  const authorize = authorizer(issuer, parameters.ClientId);
  const functions = {};
  for (const [target, changes] of Object.entries(FUNCTIONS))
    functions[target] = await lambda(product.endpoint, changes);
  const answer = async (request, response) => {
    const url = new URL(request.url, gateway.endpoint);
    const body = await bodyOf(request);
    const say = (status, message, headers = {}) =>
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ message }));
    const route = routeOf(routes, request.method, url.pathname);
    if (!route) return say(404, 'Not Found');
    let claims;
    try {
      claims = route.isOpen ? undefined : await authorize(request.headers.authorization);
    } catch (error) {
      const why = `Bearer error="invalid_token" error_description="${error.message.replaceAll('"', "'")}"`;
      return say(401, 'Unauthorized', { 'www-authenticate': why });
    }
    const said = await functions[route.target].invoke(eventOf(request, url, route, claims, variables, body));
    if (!said.statusCode) return say(500, 'Internal Server Error');
    response.writeHead(said.statusCode, { ...said.headers, ...said.multiValueHeaders });
    response.end(Buffer.from(said.body ?? '', said.isBase64Encoded ? 'base64' : 'utf8'));
  };
  gateway.server.on('request', (request, response) =>
    answer(request, response).catch((error) => response.writeHead(500).end(String(error))),
  );
  gateway.functions = functions;
}

export async function stopGateway({ server, functions = {} }) {
  await Promise.all(Object.values(functions).map(({ stop }) => stop()));
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}
