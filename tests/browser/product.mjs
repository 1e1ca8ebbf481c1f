// The real product in one process: registries, table, schedules and page, with a clock that moves only when a test
// advances it.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const IRELAND = '111122223333/eu-west-1';
export const VIRGINIA = '111122223333/us-east-1';
export const TOKYO = '444455556666/ap-northeast-1';

const PROGRAM = process.env.ECR_LINEAGE ?? fileURLToPath(new URL('../../target/debug/ecr-lineage', import.meta.url));
const READY = 'Event log';

// Replicas are deleted an hour after their source; those of `asked/` only after an approval, and release tags never.
const POLICY = `
@id("follow-the-source") @grace("1h")
permit (principal, action in [Action::"delete", Action::"untag"], resource)
unless { resource.repository like "asked/*" };

@id("asked-first") @grace("1h") @approval("required")
permit (principal, action == Action::"delete", resource)
when { resource.repository like "asked/*" };

@id("never-a-release")
forbid (principal, action, resource) when { resource.tagLine like "* release-*" };
`;

export async function start(...options) {
  const folder = await mkdtemp(join(tmpdir(), 'ecr-lineage-'));
  const policy = join(folder, 'policy.cedar');
  await writeFile(policy, POLICY);
  const lag = options.includes('--lag') ? [] : ['--lag', '30s'];
  const all = ['local', '--port', '0', '--speed', '0', '--policy', policy, '--enforce', ...lag, ...options];
  const child = spawn(PROGRAM, all, { stdio: ['ignore', 'pipe', 'inherit'] });
  const welcome = await welcomed(child);
  const endpoint = /http:\/\/127\.0\.0\.1:\d+/.exec(welcome)[0];
  const page = /http:\/\/\S+#key=\S+/.exec(welcome)?.[0] ?? `${endpoint}/`;
  return { endpoint, page, child, folder };
}

async function welcomed(child) {
  let text = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (text.includes(READY)) break;
  }
  if (!text.includes(READY)) throw new Error(`it did not start: ${text}`);
  // The rest of the output is read and dropped, because a full pipe would block the process.
  child.stdout.resume();
  return text;
}

export async function stop({ child, folder }) {
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGINT');
  await ended;
  await rm(folder, { recursive: true });
}

// A call to ECR in a registry; the simulator does not check the signature.
export async function ecr({ endpoint }, registry, operation, body) {
  const [account, region] = registry.split('/');
  const credential = `${account}/20261101/${region}/ecr/aws4_request`;
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers: {
      'X-Amz-Target': `AmazonEC2ContainerRegistry_V20150921.${operation}`,
      'Content-Type': 'application/x-amz-json-1.1',
      Authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=0`,
    },
    body: JSON.stringify(body),
  });
  const result = await answer.json();
  if (!answer.ok) throw new Error(`${operation}: ${JSON.stringify(result)}`);
  return result;
}

export async function step({ endpoint }, seconds) {
  await fetch(`${endpoint}/_simulator/step`, { method: 'POST', body: JSON.stringify({ seconds }) });
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Advances the time in steps of a minute until a condition holds; between steps, queued events are recorded and
// schedules run.
export async function until(product, holds, minutes = 30) {
  for (let minute = 0; minute < minutes; minute += 1) {
    if (await holds()) return;
    await step(product, 60);
    await pause(250);
  }
  throw new Error(`after ${minutes} minutes: ${holds}`);
}

export async function api({ endpoint }, path) {
  const answer = await fetch(`${endpoint}/v1/${path}`);
  return answer.ok ? answer.json() : {};
}

// Replicates from Ireland to Virginia, and to Tokyo in another account, whose registry policy allows it.
export async function replicate(product) {
  const policy = {
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'replication',
        Effect: 'Allow',
        Principal: { AWS: 'arn:aws:iam::111122223333:root' },
        Action: ['ecr:ReplicateImage', 'ecr:CreateRepository'],
        Resource: 'arn:aws:ecr:ap-northeast-1:444455556666:repository/*',
      },
    ],
  };
  await ecr(product, TOKYO, 'PutRegistryPolicy', { policyText: JSON.stringify(policy) });
  const destinations = [VIRGINIA, TOKYO]
    .map((registry) => registry.split('/'))
    .map(([registryId, region]) => ({ registryId, region }));
  await ecr(product, IRELAND, 'PutReplicationConfiguration', {
    replicationConfiguration: { rules: [{ destinations }] },
  });
}

export const create = (product, repositoryName) => ecr(product, IRELAND, 'CreateRepository', { repositoryName });

// Pushes a distinct image; returns its digest.
export async function push(product, repositoryName, imageTag, what = imageTag) {
  const imageManifest = manifest(what);
  const answer = await ecr(product, IRELAND, 'PutImage', { repositoryName, imageTag, imageManifest });
  return answer.image.imageId.imageDigest;
}

export const remove = (product, repositoryName, imageDigest) =>
  ecr(product, IRELAND, 'BatchDeleteImage', { repositoryName, imageIds: [{ imageDigest }] });

const digest = (text) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

function manifest(what) {
  const image = 'application/vnd.oci.image.manifest.v1+json';
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: image,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest(what), size: 1_470 },
    layers: [
      { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest(`${what} layer`), size: 31_457_280 },
    ],
  });
}

const statusesOf = async (product, reference) =>
  ((await api(product, `lineage?image=${encodeURIComponent(reference)}`)).images ?? []).flatMap((image) =>
    image.registries.map(({ status }) => status),
  );

// Waits until an image is present in `registries` registries.
export const arrived = (product, reference, registries = 3) =>
  until(
    product,
    async () => (await statusesOf(product, reference)).filter((status) => status === 'present').length === registries,
  );

// Waits until at least `wanted` deletions of an image have a status.
export const deletions = (product, digestOfImage, status, wanted = 2) =>
  until(product, async () => {
    const all = await api(product, `deletions?status=${status}`);
    return (all.deletions ?? []).filter((deletion) => deletion.digest === digestOfImage).length >= wanted;
  });
